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

// add counts the time since the last sample. It assumes that the run waited all that time for what this sample says. It returns what it counted.
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

// Refine lets the caller of the run correct what the samples say that the run waits for: a pool that waits for its caller, or for the next item, does not know
// why. f is called with each sample's Waiting, and what it returns is kept instead. f may use the store.
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

// Waits returns what the run has waited for so far, and for how long, the longest time first. The times come from samples, taken ten times a second, so they are
// inaccurate for a run of less than a second.
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
