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
)

// Launch is one process in its box.
type Launch struct {
	sockets string // the folder of the socket, empty at level off
}

// Recheck has nothing to add to what is looked at before each start.
func (*Launch) Recheck() error { return nil }

// StartError returns err.
func (*Launch) StartError(err error) error { return err }

// Sockets is the folder of the plugin's socket, empty at level off: it is the caller's then.
func (l *Launch) Sockets() string { return l.sockets }

// Confirm has nothing to wait for: the walls are the kernel's from sandbox-exec's last call on, which is the plugin's first.
func (*Launch) Confirm(context.Context) error { return nil }

// Dial connects to the socket of this name in the plugin's folder. The plugin can make no links there, so that nothing else is called.
func (l *Launch) Dial(ctx context.Context, name string) (net.Conn, error) {
	if err := l.Check(name); err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(l.sockets, name))
}

// Check reports whether there is a socket of this name in the plugin's folder.
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

// Kill knows of no process that the caller does not know of.
func (*Launch) Kill() {}

// Death says what the process's state says.
func (*Launch) Death(state *os.ProcessState, _ bool) Death {
	d := Death{Cause: CauseExit, Code: state.ExitCode()}
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return d
	}
	d.Signal, d.Cause = unix.SignalName(status.Signal()), CauseSignal
	if status.Signal() == unix.SIGXFSZ {
		d.Cause = CauseFileSize
	}
	return d
}

// Usage is not counted here.
func (*Launch) Usage() Usage { return Usage{} }

// Close has nothing to let go of: the folder is the caller's.
func (*Launch) Close() {}
