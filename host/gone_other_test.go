//go:build unix && !linux

package host_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// waitGone waits for a process to end, which need not be a child.
func waitGone(t *testing.T, what string, pid int, limit time.Duration) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for tick := time.NewTicker(5 * time.Millisecond); unix.Kill(pid, 0) == nil; <-tick.C {
		if time.Now().After(deadline) {
			_ = unix.Kill(pid, unix.SIGKILL)
			t.Fatalf("%s: process %d is alive after %v", what, pid, limit)
		}
	}
}

// checkGone has no way here to find processes by their environment.
func checkGone(*testing.T, string) {}
