package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/bound"
)

const (
	maxSpans   = 8192 // items that are kept one by one, because they are long enough to be seen
	maxFailed  = 1024 // failed attempts that are kept one by one: the latest
	maxMessage = 300  // bytes of their messages
)

// Span is an attempt at an item.
type Span struct {
	Place    int           `json:"place"` // of the item in the input
	Worker   int           `json:"worker"`
	Thread   int           `json:"thread"`   // of the worker, from 0
	Begun    time.Duration `json:"begun_ns"` // since the store was made
	Took     time.Duration `json:"took_ns"`  // in the workload
	Kind     host.Kind     `json:"kind,omitempty"`
	Cause    host.Cause    `json:"cause,omitempty"`
	Message  string        `json:"message,omitempty"`
	Attempts int           `json:"attempts,omitempty"` // how often the item was begun, this time included; 0 if it did not fail
	Again    bool          `json:"again,omitempty"`    // the item failed and was begun again
	Item     string        `json:"item,omitempty"`     // its text, where an event had it
}

// spans are the items that took at least as long as a bin of the timeline is wide, because shorter ones cannot be seen there, and failed attempts.
type spans struct {
	least  time.Duration // shortest item that is kept
	long   []Span
	failed []Span // a ring of the latest ones
	next   int    // where the next one goes, once the ring is full
}

// add keeps an item that is long enough. There is no order.
func (s *spans) add(item *Span) {
	if len(s.long) == maxSpans { // the longer half stays
		slices.SortFunc(s.long, func(a, b Span) int { return cmp.Compare(b.Took, a.Took) })
		s.long = s.long[:maxSpans/2]
		s.least = max(s.least, s.long[len(s.long)-1].Took)
	}
	if item.Took >= s.least {
		s.long = append(s.long, *item)
	}
}

// widen drops items that are shorter than least.
func (s *spans) widen(least time.Duration) {
	s.least = least
	s.long = slices.DeleteFunc(s.long, func(item Span) bool { return item.Took < least })
}

func (s *spans) fail(item *Span) {
	if len(s.failed) < maxFailed {
		s.failed = append(s.failed, *item)
		return
	}
	s.failed[s.next] = *item
	s.next = (s.next + 1) % maxFailed
}

// failedAttempt keeps a failed attempt, which ended at a time in a thread of its worker.
func (s *Store) failedAttempt(at time.Time, a *host.Attempt, thread int, again bool) {
	s.spans.fail(&Span{
		Place: a.Place, Worker: a.Worker, Thread: thread, Begun: at.Sub(s.begun) - a.Took, Took: a.Took, Item: a.Item, Again: again,
		Kind: a.Err.Kind, Cause: a.Err.Cause, Message: bound.Text(a.Err.Message, maxMessage), Attempts: a.Err.Attempts,
	})
}

// Spans returns long items that were running between from and to, counted from when the store was made: at most n of them, the longest first. The store
// does not keep items that are shorter than [Timeline.Width]. If there are too many longer ones, it keeps the longest.
func (s *Store) Spans(from, to time.Duration, n int) []Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Span
	for i := range s.spans.long {
		if item := &s.spans.long[i]; item.Begun <= to && item.Begun+item.Took >= from {
			found = append(found, *item)
		}
	}
	slices.SortFunc(found, func(a, b Span) int { return cmp.Or(cmp.Compare(b.Took, a.Took), cmp.Compare(a.Begun, b.Begun)) })
	return found[:min(n, len(found))]
}

// Failed returns the latest failed attempts, at most 1024, in the order in which they ended.
func (s *Store) Failed() []Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(s.spans.failed[s.spans.next:], s.spans.failed[:s.spans.next])
}
