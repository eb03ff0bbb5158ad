//go:build unix

package host_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/gone"
)

// waitGone waits for a process to end, which need not be a child.
func waitGone(t *testing.T, what string, pid int, limit time.Duration) {
	t.Helper()
	switch ended, err := gone.Within(pid, limit); {
	case err != nil:
		t.Fatal(err)
	case !ended:
		_ = unix.Kill(pid, unix.SIGKILL)
		t.Fatalf("%s: process %d is alive after %v", what, pid, limit)
	}
}
