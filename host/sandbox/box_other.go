//go:build !linux && !darwin && !windows

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
)

// Box is the sandbox of one pool's workers. On this system it is none: its processes are plain ones.
type Box struct {
	plugin, checksum string // that is to be compared before each start
}

// Launch is one process in its box.
type Launch struct{}

var errNoWalls = errors.New("package sandbox builds walls on Linux, and some on macOS and Windows; in a Linux container or virtual machine it works")

// Open refuses everything but plain processes without limits.
//
// The plugin is hashed here and before each start, which fails with a [*ChangedError] if it has been changed. With a checksum, the plugin's SHA-256 in
// hexadecimal, the error is a [*ChecksumError] if the plugin has another one. A process that may write to the file can still change it between the
// hash and the execution; only on Linux are the bytes that run the bytes that were hashed.
func Open(ctx context.Context, policy Policy, plugin, checksum string) (*Box, error) {
	policy, err := policy.complete()
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	switch {
	case policy.Level > Off:
		return nil, notHere(policy.Level, "walls")
	case policy.limited():
		return nil, notHere(policy.Level, "limits")
	}
	checksum, err = hashed(ctx, plugin, checksum)
	return &Box{plugin, checksum}, err
}

func notHere(level Level, stage string) error {
	return &StageError{Level: level, Stage: stage, Err: errors.New("package sandbox has none for " + runtime.GOOS), Hint: errNoWalls.Error()}
}

// Level returns the level of the box.
func (*Box) Level() Level { return Off }

// PIDs returns 0: nothing counts them here.
func (*Box) PIDs() int { return 0 }

// Layers says in words what stands around each worker: nothing.
func (*Box) Layers() []string { return nil }

// Checksum returns the SHA-256 of the plugin, in hexadecimal.
func (b *Box) Checksum() string { return b.checksum }

// Close has nothing to let go of.
func (*Box) Close() {}

// Wrap leaves the command as it is, if the plugin is.
func (b *Box) Wrap(*exec.Cmd, int) (*Launch, error) {
	return &Launch{}, unchanged(b.plugin, b.checksum)
}

// Recheck has nothing to add to what is looked at before each start.
func (*Launch) Recheck() error { return nil }

// StartError returns err.
func (*Launch) StartError(err error) error { return err }

// Sockets is empty: the folder is the caller's.
func (*Launch) Sockets() string { return "" }

// Confirm has nothing to wait for.
func (*Launch) Confirm(context.Context) error { return nil }

// Dial is for folders of the sandbox, which has none here.
func (*Launch) Dial(context.Context, string) (net.Conn, error) { return nil, errNoWalls }

// Check is for folders of the sandbox, which has none here.
func (*Launch) Check(string) error { return errNoWalls }

// Kill knows of no process that the caller does not know of.
func (*Launch) Kill() {}

// Death says what the process's state says.
func (*Launch) Death(state *os.ProcessState, _ bool) Death {
	d := Death{Cause: CauseExit, Code: state.ExitCode()}
	if d.Code < 0 {
		d.Cause = CauseSignal
	}
	return d
}

// Usage is not counted here.
func (*Launch) Usage() Usage { return Usage{} }

// Close has nothing to let go of.
func (*Launch) Close() {}

// Best returns [Off].
func Best(context.Context, Policy) (Level, error) { return Off, nil }

// Probe says that there is nothing.
func Probe(context.Context) (*Report, error) {
	r := &Report{}
	for _, level := range []Level{Basic, Strict} {
		r.Levels = append(r.Levels, Layer{Name: "level " + level.String(), Fact: "not on " + runtime.GOOS, Hint: errNoWalls.Error()})
	}
	return r, nil
}
