package process

import "time"

// printWindow is how long what an item has printed may be on its way here. It is read within a fraction of that.
const printWindow = 50 * time.Millisecond

// recent is the items of a worker that have ended one soon after the other.
type recent struct {
	n    int // items
	item int // the last of them
	at   time.Time
}

// add says that n items have ended, up to the one with an index.
func (t *recent) add(n, item int, now time.Time) {
	if now.Sub(t.at) > printWindow {
		t.n = 0
	}
	t.n, t.item, t.at = t.n+n, item, now
}

// attribute returns the index of the item that a line of the worker's output comes from: the only one that has run in the last moment. A
// wrong one would be worse than none.
func (w *Worker) attribute() (index int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.session == nil || w.session.Sent() == 0 { // it has run nothing yet, or nobody may look at its memory any more
		return 0, false
	}
	now := time.Now()
	n := 0 // items that may have printed it
	if now.Sub(w.recent.at) <= printWindow {
		n, index = w.recent.n, w.recent.item
	}
	seen := w.blackBox()
	held := w.held()
	for _, c := range held[:min(len(held), max(1, w.session.Threads()))] { // those behind them have not begun
		at, got := c.b.First()+c.base, w.session.Progress(&c.Batch).Done
		switch s, shown := seen[c]; {
		case !shown: // its worker does not say
			n, index = n+c.Count()-got, at+got
		case now.Sub(s.since) > printWindow:
			n, index = n+1, at+s.item
		default: // those before it in the batch may have ended just now
			n, index = n+max(1, s.item-got+1), at+s.item
		}
	}
	return index, n == 1
}
