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
	quitSignal      = syscall.SIGQUIT // the host wants the stacks of all goroutines
)

func closeOnExec(fd int) { unix.CloseOnExec(fd) }

// awaitReadable blocks until the descriptor can be read or has reached its end.
func awaitReadable(fd int) {
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// killGroup kills this process and its whole process group, if this process leads one. A host starts each worker as a group leader.
func killGroup() {
	if pid := unix.Getpid(); unix.Getpgrp() == pid {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
}

// stdoutToStderr redirects file descriptor 1 to stderr, so that anything written there becomes a log line. Stdout was only for the handshake.
func stdoutToStderr() { _ = unix.Dup2(2, 1) }
