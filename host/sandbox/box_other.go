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

	"github.com/parhost/parhost/protocol"
)

// Box holds the plugin of one pool. On this system there is no sandbox, and workers are plain processes.
type Box struct {
	plugin, checksum string // compared before each start
}

// Launch is one process of a box.
type Launch struct{}

var errNoWalls = errors.New("package sandbox builds walls on Linux, and some on macOS and Windows; in a Linux container or virtual machine it works")

// Open makes a box for plain processes without limits. It refuses every other policy.
//
// The plugin is hashed here and before each start. A start fails with a [*ChangedError] if the plugin has changed. checksum is the plugin's SHA-256
// in hexadecimal, or empty. If it is set, the error is a [*ChecksumError] if the plugin has another one. A process that may write to the file can
// still change it between hashing and execution. Only on Linux are the bytes that run the bytes that were hashed.
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

// PIDs returns 0: nothing limits processes here.
func (*Box) PIDs() int { return 0 }

// Layers returns nil: nothing confines a worker here.
func (*Box) Layers() []string { return nil }

// Checksum returns the SHA-256 of the plugin, in hexadecimal.
func (b *Box) Checksum() string { return b.checksum }

// Close does nothing: the box holds no resources.
func (*Box) Close() {}

// Wrap does not change the command. It returns a [*ChangedError] if the plugin has changed.
func (b *Box) Wrap(*exec.Cmd, int) (*Launch, error) {
	return &Launch{}, unchanged(b.plugin, b.checksum)
}

// Recheck does nothing: the plugin is checked before each start only.
func (*Launch) Recheck() error { return nil }

// StartError returns err.
func (*Launch) StartError(err error) error { return err }

// Sockets returns an empty string: the socket folder belongs to the caller.
func (*Launch) Sockets() string { return "" }

// Confirm does nothing: there is nothing to wait for.
func (*Launch) Confirm(context.Context) error { return nil }

// Dial returns an error: it is for socket folders of the sandbox, which has none here.
func (*Launch) Dial(context.Context, string) (net.Conn, error) { return nil, errNoWalls }

// Check returns an error: it is for socket folders of the sandbox, which has none here.
func (*Launch) Check(string) error { return errNoWalls }

// Kill does nothing: the caller knows the only process.
func (*Launch) Kill() {}

// Death returns what the process state tells.
func (*Launch) Death(state *os.ProcessState, _ bool) Death {
	d := Death{Cause: protocol.CauseExit, Code: state.ExitCode()}
	if d.Code < 0 {
		d.Cause = protocol.CauseSignal
	}
	return d
}

// Counters returns zeros: nothing is counted here.
func (*Launch) Counters() Counters { return Counters{} }

// Close does nothing: a launch holds no resources.
func (*Launch) Close() {}

// Best returns [Off].
func Best(context.Context, Policy) (Level, error) { return Off, nil }

// Probe reports that no level is supported here.
func Probe(context.Context) (*Report, error) {
	r := &Report{}
	for _, level := range []Level{Basic, Strict} {
		r.Levels = append(r.Levels, Layer{Name: "level " + level.String(), Fact: "not on " + runtime.GOOS, Hint: errNoWalls.Error()})
	}
	return r, nil
}
