//go:build unix

package sdk

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	terminateSignal = syscall.SIGTERM
	orphanSignal    = syscall.SIGHUP  // the host is gone
	quitSignal      = syscall.SIGQUIT // all goroutines' stacks are wanted
)

func closeOnExec(fd int) { unix.CloseOnExec(fd) }

// killGroup ends the processes that this one started, if it leads a group of its own, as a host sees to.
func killGroup() {
	if pid := unix.Getpid(); unix.Getpgrp() == pid {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
}

// stdoutToStderr makes what anybody writes to file descriptor 1 a line of the log: stdout was for the handshake alone.
func stdoutToStderr() { _ = unix.Dup2(2, 1) }
