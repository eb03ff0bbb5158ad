//go:build unix && !linux

package child

import "syscall"

// isolate starts the process in a new session and group, out of reach of the terminal's signals. These systems have no parent-death signal, so only the SDK's
// watch on the host's pipe ends a worker whose host is gone.
func isolate() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
