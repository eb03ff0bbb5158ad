package process

import (
	"slices"
	"time"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/pulse"
)

// shownItem is which item of a call a worker says that it runs.
type shownItem struct {
	item  int
	since time.Time
}

// seenItem is an item that the host has seen run, and since when.
type seenItem struct {
	item  int
	since pulse.Mark
}

// blackBox returns which item each call is at, as far as the worker's entries tell: they may say anything. Called with mu held,
// while the arena is mapped.
func (w *Worker) blackBox() map[*call]shownItem {
	if !w.shared {
		return nil
	}
	seen := map[*call]shownItem{}
	for n := range min(w.session.Threads(), arena.MaxThreads) {
		id, item, since := w.arena.arena.Entry(n).Read()
		if b := w.session.Find(id); b != nil && item < uint64(b.Count()) {
			seen[b.Receiver.(*call)] = shownItem{int(item), since}
		}
	}
	return seen
}

// Running is part of [worker.Worker]. What a worker says of times before it got the batch, or to come, is corrected.
func (w *Worker) Running() []worker.Running {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return nil
	}
	now := time.Now()
	var items []worker.Running
	for c, s := range w.blackBox() {
		if s.since.Before(c.Sent()) {
			s.since = c.Sent()
		}
		if s.since.After(now) {
			s.since = now
		}
		items = append(items, worker.Running{Index: c.b.First() + c.base + s.item, Since: s.since})
	}
	slices.SortFunc(items, func(a, b worker.Running) int { return a.Index - b.Index })
	return items
}

// stuck returns the item of c that has been running for longer than its limit and the grace, by the host's own clock: a worker whose
// threads are all held up, or that is stopped, does not notice itself. Called with mu held.
func (w *Worker) stuck(c *call) (item int, ok bool) {
	s, seen := w.blackBox()[c]
	if !seen || c.seen.since.At.IsZero() || c.seen.item != s.item {
		c.seen = seenItem{s.item, w.options.Pulse.Mark()}
		return 0, false
	}
	return s.item, w.options.Pulse.Since(c.seen.since) > c.Timeout()+w.options.Grace
}
