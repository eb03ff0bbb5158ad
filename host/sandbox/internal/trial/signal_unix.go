//go:build unix

package trial

import (
	"syscall"

	// A trial that comes with limits is first their stage, which is to become it behind the walls: its package begins before this one.
	_ "github.com/parhost/parhost/host/sandbox/internal/rlimit"
)

// signal sends none: the kernel looks whether it might.
func signal(pid int) error { return syscall.Kill(pid, 0) }
