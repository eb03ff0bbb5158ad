package history

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/parhost/parhost/host"
)

// What a run may wait for beyond the pool, if its caller says so: see [Store.Refine].
const (
	WaitJoblog host.Wait = "joblog" // the joblog's disk
	WaitStdout host.Wait = "stdout" // the program that reads the results
)

// waits says what a run waited for, and for how long.
type waits struct {
	since time.Time // of the last sample
	total map[host.Wait]time.Duration
}

// spell is a span of time in which a run waited for one thing.
type spell struct {
	wait host.Wait
	took time.Duration
}

// add counts the time up to a sample as spent on what the run waits for now, and returns it.
func (w *waits) add(e *host.Sampled) spell {
	wait := e.State.Waiting.For
	now := spell{wait, max(0, e.At.Sub(w.since))}
	w.since = e.At
	if w.total == nil {
		w.total = map[host.Wait]time.Duration{}
	}
	w.total[wait] += now.took
	return now
}

// Refine has f called with what each sample says that the run waits for. f returns what the caller of the run knows better: a pool that waits for its caller,
// or for the next item, does not know why. f may use the store.
func (s *Store) Refine(f func(host.Waiting) host.Waiting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refine = f
}

// refined returns a sample with what the caller of the run knows better.
func (s *Store) refined(e host.Sampled) host.Sampled {
	s.mu.Lock()
	refine := s.refine
	s.mu.Unlock()
	if refine != nil {
		e.State.Waiting = refine(e.State.Waiting)
	}
	return e
}

// Share is the time that a run spent waiting for one thing.
type Share struct {
	Wait host.Wait     `json:"wait"`
	Took time.Duration `json:"took_ns"`
}

// Waits returns what the run has waited for so far, the longest time first. The time is sampled: of a run shorter than a second it says little.
func (s *Store) Waits() []Share {
	s.mu.Lock()
	defer s.mu.Unlock()
	var shares []Share
	for _, wait := range slices.Sorted(maps.Keys(s.waits.total)) {
		if wait != host.WaitNothing {
			shares = append(shares, Share{wait, s.waits.total[wait]})
		}
	}
	slices.SortStableFunc(shares, func(a, b Share) int { return cmp.Compare(b.Took, a.Took) })
	return shares
}
