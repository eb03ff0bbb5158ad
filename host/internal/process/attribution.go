package process

import "time"

// printWindow is how long an item's output may take to arrive here. The host reads it within a fraction of that.
const printWindow = 50 * time.Millisecond

// recent counts the items of a worker that have ended shortly after one another.
type recent struct {
	n    int // items
	item int // index of the last one
	at   time.Time
}

// add records that n items have ended, the last of which has the index item.
func (t *recent) add(n, item int, now time.Time) {
	if now.Sub(t.at) > printWindow {
		t.n = 0
	}
	t.n, t.item, t.at = t.n+n, item, now
}

// attribute returns the index of the item that wrote a line of the worker's output: the only item that has run within printWindow. ok is false if that is not
// clear, because a wrong item would be worse than none.
func (w *Worker) attribute() (index int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.session == nil || w.session.Sent() == 0 { // the worker has run nothing yet, or its memory must not be read any more
		return 0, false
	}
	now := time.Now()
	n := 0 // items that may have written the line
	if now.Sub(w.recent.at) <= printWindow {
		n, index = w.recent.n, w.recent.item
	}
	seen := w.blackBox()
	held := w.held()
	for _, c := range held[:min(len(held), max(1, w.session.Threads()))] { // later calls have not begun
		at, got := c.b.First()+c.base, w.session.Progress(&c.Batch).Done
		switch s, shown := seen[c]; {
		case !shown: // the black box does not name an item
			n, index = n+c.Count()-got, at+got
		case now.Sub(s.since) > printWindow:
			n, index = n+1, at+s.item
		default: // earlier items of the batch may have ended just now
			n, index = n+max(1, s.item-got+1), at+s.item
		}
	}
	return index, n == 1
}
