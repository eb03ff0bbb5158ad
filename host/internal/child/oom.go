package child

import (
	"slices"
	"strings"
	"sync"
)

// oomWatch tells whether a process that was killed was killed by the kernel, for want of memory. The kernel counts such deaths, but
// does not say whose they were: one that happened since a worker was started, and that no other worker's death accounts for, is taken to
// be the worker's.
type oomWatch struct {
	mu      sync.Mutex
	claimed int64 // deaths, as the kernel counts them, up to the last that was a worker's
}

// claim reports whether there is a death that nobody has claimed yet, given how many there were when the worker was started.
func (w *oomWatch) claim(before int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := max(before, w.claimed) + 1
	if oomKills() < next {
		return false
	}
	w.claimed = next
	return true
}

// outOfMemory reports whether a process's last words are those of a Go program that got no memory.
func outOfMemory(stderr []string) bool {
	return slices.ContainsFunc(stderr, func(line string) bool {
		line = strings.TrimPrefix(strings.TrimPrefix(line, "fatal error: "), "runtime: ")
		return strings.HasPrefix(line, "out of memory") || strings.HasPrefix(line, "cannot allocate memory")
	})
}

// outOfThreads reports whether a process's last words are those of a Go program that was refused a thread, without and with cgo.
func outOfThreads(stderr []string) bool {
	return slices.ContainsFunc(stderr, func(line string) bool {
		return strings.HasPrefix(line, "runtime: failed to create new OS thread") || strings.HasPrefix(line, "runtime/cgo: pthread_create failed: Resource temporarily unavailable")
	})
}
