package process

import (
	"slices"
	"time"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/pulse"
)

// shownItem is the item of a call that a worker's black box names.
type shownItem struct {
	item  int
	since time.Time
}

// seenItem is an item that the host has seen in the black box, and since when it has seen it there.
type seenItem struct {
	item  int
	since pulse.Mark
}

// blackBox returns which item of each call runs, according to the worker's entries. The entries are not trustworthy: the worker can write anything there. It is
// called with mu held, while the arena is mapped.
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

// Running implements [worker.Worker]. It corrects times that are before the call was sent, or in the future, because the worker may lie.
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
		items = append(items, worker.Running{Place: worker.PlaceOf(c.b, c.base+s.item), Since: s.since})
	}
	slices.SortFunc(items, func(a, b worker.Running) int { return a.Place - b.Place })
	return items
}

// stuck returns the item of c that has been running for longer than its limit and the grace period. It uses the host's own clock, because a worker that is
// stopped, or whose threads are all blocked, does not notice. It is called with mu held.
func (w *Worker) stuck(c *call) (item int, ok bool) {
	s, seen := w.blackBox()[c]
	if !seen || c.seen.since.At.IsZero() || c.seen.item != s.item {
		c.seen = seenItem{s.item, w.options.Pulse.Mark()}
		return 0, false
	}
	return s.item, w.options.Pulse.Since(c.seen.since) > c.Timeout()+w.options.Grace
}
