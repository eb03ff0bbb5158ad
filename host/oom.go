package host

import (
	"slices"
	"strings"
	"sync"
)

// oomWatch tells whether a process that was killed was killed by the kernel, for want of memory. The kernel counts such deaths, but
// does not say whose they were: one that happened since a worker was last started or last died is taken to be the worker's.
type oomWatch struct {
	mu   sync.Mutex
	seen int64
}

// look forgets the deaths so far.
func (w *oomWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = oomKills()
}

// claim reports whether there is a death that nobody has claimed yet, and claims it.
func (w *oomWatch) claim() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if oomKills() <= w.seen {
		return false
	}
	w.seen++
	return true
}

// outOfMemory reports whether a process's last words are those of a Go program that got no memory.
func outOfMemory(stderr []string) bool {
	return slices.ContainsFunc(stderr, func(line string) bool {
		line = strings.TrimPrefix(strings.TrimPrefix(line, "fatal error: "), "runtime: ")
		return strings.HasPrefix(line, "out of memory") || strings.HasPrefix(line, "cannot allocate memory")
	})
}
