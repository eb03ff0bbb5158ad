//go:build unix && !linux

package child

import "syscall"

// isolate gives the process a session and a group of its own, out of reach of the terminal's signals. There is no parent-death
// signal here: the SDK's watch on the host's pipe has to do.
func isolate() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
