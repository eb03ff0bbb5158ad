package host_test

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// waitGone waits for a process to end, which need not be a child.
func waitGone(t *testing.T, what string, pid int, limit time.Duration) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(limit)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(0, time.Until(deadline).Milliseconds())))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			t.Fatal(err)
		case n == 0:
			_ = unix.Kill(pid, unix.SIGKILL)
			t.Fatalf("%s: process %d is alive after %v", what, pid, limit)
		default:
			return
		}
	}
}
