package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/protocol"
)

// Launch is one process of a box.
type Launch struct {
	sockets string // the folder of the socket, empty at level off
}

// Recheck does nothing: the plugin is checked before each start only.
func (*Launch) Recheck() error { return nil }

// StartError returns err.
func (*Launch) StartError(err error) error { return err }

// Sockets returns the folder of the plugin's socket. It is empty at level off, where the folder belongs to the caller.
func (l *Launch) Sockets() string { return l.sockets }

// Confirm does nothing: the walls stand when sandbox-exec executes the plugin, so there is nothing to wait for.
func (*Launch) Confirm(context.Context) error { return nil }

// Dial connects to the socket with this name in the plugin's folder. The plugin cannot create links there, so Dial never connects to anything else.
func (l *Launch) Dial(ctx context.Context, name string) (net.Conn, error) {
	if err := l.Check(name); err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(l.sockets, name))
}

// Check returns nil if the plugin's folder has a socket with this name, and otherwise an error.
func (l *Launch) Check(name string) error {
	switch {
	case l.sockets == "":
		return errors.New("at level off the folder of sockets is the caller's")
	case name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/'):
		return fmt.Errorf("socket %q is not a name in the plugin's folder", name)
	}
	info, err := os.Lstat(filepath.Join(l.sockets, name))
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%q in the plugin's folder is no socket but %s", name, info.Mode())
	}
	return nil
}

// Kill does nothing: the sandbox knows of no process that the caller does not know.
func (*Launch) Kill() {}

// Death returns what the process state tells.
func (*Launch) Death(state *os.ProcessState, _ bool) Death {
	d := Death{Cause: protocol.CauseExit, Code: state.ExitCode()}
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return d
	}
	d.Signal, d.Cause = unix.SignalName(status.Signal()), protocol.CauseSignal
	if status.Signal() == unix.SIGXFSZ {
		d.Cause = protocol.CauseFileSize
	}
	return d
}

// Counters returns zeros: nothing is counted here.
func (*Launch) Counters() Counters { return Counters{} }

// Close does nothing: the socket folder belongs to the caller.
func (*Launch) Close() {}
