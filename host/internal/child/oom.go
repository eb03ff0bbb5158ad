package child

import (
	"slices"
	"strings"
	"sync"
)

// oomWatch finds out whether the kernel killed a process because memory ran out. The kernel counts such deaths, but does not say which processes died. If one
// happened since a worker was started, and no other worker's death accounts for it, it is taken to be the worker's.
type oomWatch struct {
	mu      sync.Mutex
	claimed int64 // the kernel's count of deaths up to the last one that was a worker's
}

// claim reports whether there is a death that no worker has claimed yet. before is the kernel's count when the worker was started.
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

// outOfMemory reports whether the last output of a process is that of a Go program that got no memory.
func outOfMemory(stderr []string) bool {
	return slices.ContainsFunc(stderr, func(line string) bool {
		line = strings.TrimPrefix(strings.TrimPrefix(line, "fatal error: "), "runtime: ")
		return strings.HasPrefix(line, "out of memory") || strings.HasPrefix(line, "cannot allocate memory")
	})
}

// outOfThreads reports whether the last output of a process is that of a Go program that was refused a thread, with or without cgo.
func outOfThreads(stderr []string) bool {
	return slices.ContainsFunc(stderr, func(line string) bool {
		return strings.HasPrefix(line, "runtime: failed to create new OS thread") || strings.HasPrefix(line, "runtime/cgo: pthread_create failed: Resource temporarily unavailable")
	})
}
