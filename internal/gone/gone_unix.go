//go:build unix && !linux

package gone

import (
	"time"

	"golang.org/x/sys/unix"
)

// Within waits for a process to end, and reports whether it has ended within limit.
func Within(pid int, limit time.Duration) (bool, error) {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ; unix.Kill(pid, 0) == nil; <-tick.C {
		if time.Now().After(deadline) {
			return false, nil
		}
	}
	return true, nil
}
