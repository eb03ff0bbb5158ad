package host

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parhost/parhost/host/internal/worker"
)

// scheduler lends workers to batches. A worker may be lent several times over, so that the next batch waits in it while the one
// before runs.
//
// Those who wait are served strictly in order: a batch that needs a worker of its own is not overtaken for ever by batches
// that do not.
type scheduler struct {
	mu      sync.Mutex
	entries  []*entry // the first of them, up to limit, are lent; the others stand by for when one of these is gone
	limit   int
	peak    int // the most places that were lent at once
	waiting []*waiter
	crowded chan struct{} // has room for one; told when somebody has to wait; nil if nobody wants to know
	releases   int           // lendings that came back
	last    int           // the place lent last; the search begins behind it, so that all get their turn
	err     error         // set when nothing will be lent any more
}

// entry is a worker in the lender's books.
type entry struct {
	worker  worker.Worker
	index      int       // its index in the lender's places; -1 when it has been dropped
	leases    int       // batches it holds
	solo    bool      // one batch has it alone
	lastRelease    int       // when one came back last, as the lender counts
	since   time.Time // when that was, or when it was put into the books
	retired bool      // somebody waits for it to be drained

	fruitless atomic.Bool // it has been counted as one that did nothing

	drained chan struct{} // closed when it is retired and nobody holds it
	leaving chan struct{} // closed when the worker asked to be replaced
	expired    chan struct{} // closed when a batch has come back and the worker is beyond most or oldest
	maxItems    int           // items that it may run; 0 means no limit
	expiresAt  time.Time     // when it will be as old as it may be; zero means no limit
}

type waiter struct {
	depth int
	solo  bool
	got   chan *entry // has room for one
}

// acquire waits for a worker that holds fewer than depth batches; solo asks for one that holds none and takes no other.
func (l *scheduler) acquire(ctx context.Context, depth int, solo bool) (*entry, error) {
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return nil, l.err
	}
	if len(l.waiting) == 0 {
		if e := l.pick(depth, solo); e != nil {
			l.mu.Unlock()
			return e, nil
		}
	}
	w := &waiter{depth: depth, solo: solo, got: make(chan *entry, 1)}
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	select {
	case l.crowded <- struct{}{}:
	default:
	}
	select {
	case e := <-w.got:
		return l.received(e)
	case <-ctx.Done():
	}
	l.mu.Lock()
	i := slices.Index(l.waiting, w)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		l.serveWaiting() // whoever stood behind may not need as much
	}
	l.mu.Unlock()
	if i < 0 {
		if e, err := l.received(<-w.got); err == nil {
			l.release(e, worker.End{})
		}
	}
	return nil, context.Cause(ctx)
}

// received reads what a waiter was given: nil means that the lender has closed.
func (l *scheduler) received(e *entry) (*entry, error) {
	if e != nil {
		return e, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return nil, l.err
}

// pick lends the place with the fewest batches. Called with mu held.
func (l *scheduler) pick(depth int, solo bool) *entry {
	if solo {
		depth = 1
	}
	best := -1
	lent := min(len(l.entries), l.limit)
	for i := range lent {
		at := (l.last + 1 + i) % lent
		e := l.entries[at]
		if e.solo || e.leases >= depth {
			continue
		}
		if best < 0 || e.leases < l.entries[best].leases || e.leases == l.entries[best].leases && e.lastRelease > l.entries[best].lastRelease {
			best = at // rather behind what moves than behind what may be stuck
		}
		if e.leases == 0 {
			break
		}
	}
	if best < 0 {
		return nil
	}
	e := l.entries[best]
	l.last = best
	e.leases++
	e.solo = solo
	return e
}

// serveWaiting gives workers to those who wait, in order. Called with mu held.
func (l *scheduler) serveWaiting() {
	for len(l.waiting) > 0 {
		w := l.waiting[0]
		e := l.pick(w.depth, w.solo)
		if e == nil {
			return
		}
		l.waiting = l.waiting[1:]
		w.got <- e
	}
}

// release takes back one lending. A worker that died or that asked to be replaced is not lent again, though it may take its slot
// a moment to notice.
func (l *scheduler) release(e *entry, end worker.End) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.leases--
	e.solo = false
	l.releases++
	e.lastRelease, e.since = l.releases, time.Now()
	if end.Leaving || end.Death != nil {
		l.drop(e)
	}
	if end.Leaving && !isClosed(e.leaving) {
		close(e.leaving)
	}
	full := e.maxItems > 0 && e.worker.Info().Items >= e.maxItems || !e.expiresAt.IsZero() && e.since.After(e.expiresAt)
	if full && !isClosed(e.expired) {
		close(e.expired)
	}
	if e.retired {
		if e.leases == 0 {
			close(e.drained)
		}
		return
	}
	l.serveWaiting()
}

// add puts a worker into the books. It is full after most items, 0 means never, and after the time oldest, zero means never.
func (l *scheduler) add(w worker.Worker, most int, oldest time.Time) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &entry{worker: w, index: len(l.entries), maxItems: most, expiresAt: oldest, since: time.Now(), drained: make(chan struct{}), leaving: make(chan struct{}), expired: make(chan struct{})}
	l.entries = append(l.entries, e)
	l.count()
	l.serveWaiting()
	return e
}

// resize lends so many workers at once from now on.
func (l *scheduler) resize(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = n
	l.count()
	l.serveWaiting()
}

// count updates the peak. Called with mu held.
func (l *scheduler) count() { l.peak = max(l.peak, min(len(l.entries), l.limit)) }

// queue is how many wait for a worker.
func (l *scheduler) queue() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// holds returns how many batches each worker holds, by number.
func (l *scheduler) holds() map[int]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[int]int{}
	for _, e := range l.entries {
		n[e.worker.Info().Number] += e.leases
	}
	return n
}

// idle is how long a worker has held nothing; 0 for one that holds something or stands by.
func (l *scheduler) idle(e *entry) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.leases > 0 || e.index < 0 || e.index >= l.limit {
		return 0
	}
	return time.Since(e.since)
}

// retire takes a worker out of the books for good. The returned channel is closed when nobody holds it any more. It is called
// once for each place.
func (l *scheduler) retire(e *entry) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(e)
	e.retired = true
	if e.leases == 0 {
		close(e.drained)
	}
	return e.drained
}

// exclude lends a worker no more.
func (l *scheduler) exclude(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(e)
}

// drop keeps a worker from being lent again. It takes the same time for any number of workers, because a pool that closes drops all of them.
// Called with mu held.
func (l *scheduler) drop(e *entry) {
	if e.index < 0 {
		return
	}
	hole, last := e.index, len(l.entries)-1
	if e.index = -1; hole < l.limit && l.limit <= last { // the first worker that stands by is lent instead
		hole = l.move(l.limit, hole)
	}
	if hole < last {
		l.move(last, hole)
	}
	l.entries[last] = nil
	l.entries = l.entries[:last]
	l.serveWaiting()
}

// move moves a place to another index and returns the index that is free then. Called with mu held.
func (l *scheduler) move(from, to int) int {
	l.entries[to] = l.entries[from]
	l.entries[to].index = to
	return from
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// close refuses all who wait and all who come, with err. The first error stays.
func (l *scheduler) close(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	for _, w := range l.waiting {
		w.got <- nil
	}
	l.waiting = nil
}

// reason returns why nothing is lent any more if err is only that the pool is closed.
func (l *scheduler) reason(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, ErrClosed) && l.err != nil {
		return l.err
	}
	return err
}

// snapshot describes the workers in the books.
func (l *scheduler) snapshot(mode Mode) []WorkerInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	infos := make([]WorkerInfo, len(l.entries))
	for i, e := range l.entries {
		infos[i] = infoOf(e.worker.Info(), mode)
		infos[i].Batches = e.leases
		infos[i].Standby = i >= l.limit
		for _, r := range e.worker.Running() {
			infos[i].Running = append(infos[i].Running, Running{Index: r.Index, Since: r.Since})
		}
	}
	slices.SortFunc(infos, func(a, b WorkerInfo) int { return a.Worker - b.Worker })
	return infos
}
