//go:build unix

package sdk

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	terminateSignal = syscall.SIGTERM
	orphanSignal    = syscall.SIGHUP  // the host is gone
	quitSignal      = syscall.SIGQUIT // all goroutines' stacks are wanted
)

func closeOnExec(fd int) { unix.CloseOnExec(fd) }

// awaitReadable waits until a descriptor can be read, or has ended.
func awaitReadable(fd int) {
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// killGroup ends the processes that this one started, if it leads a group of its own, as a host sees to.
func killGroup() {
	if pid := unix.Getpid(); unix.Getpgrp() == pid {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
}

// stdoutToStderr makes what anybody writes to file descriptor 1 a line of the log: stdout was for the handshake alone.
func stdoutToStderr() { _ = unix.Dup2(2, 1) }
