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

// lender lends workers to batches. A worker may be lent several times over, so that the next batch waits in it while the one
// before runs.
//
// Those who wait are served strictly in order: a batch that needs a worker of its own is not overtaken for ever by batches
// that do not.
type lender struct {
	mu      sync.Mutex
	places  []*place // the first of them, up to limit, are lent; the others stand by for when one of these is gone
	limit   int
	peak    int // the most places that were lent at once
	waiting []*waiter
	crowded chan struct{} // has room for one; told when somebody has to wait; nil if nobody wants to know
	backs   int           // lendings that came back
	last    int           // the place lent last; the search begins behind it, so that all get their turn
	err     error         // set when nothing will be lent any more
}

// place is a worker in the lender's books.
type place struct {
	worker  worker.Worker
	at      int       // its index in the lender's places; -1 when it has been dropped
	lent    int       // batches it holds
	solo    bool      // one batch has it alone
	back    int       // when one came back last, as the lender counts
	since   time.Time // when that was, or when it was put into the books
	retired bool      // somebody waits for it to be drained

	fruitless atomic.Bool // it has been counted as one that did nothing

	drained chan struct{} // closed when it is retired and nobody holds it
	leaving chan struct{} // closed when the worker asked to be replaced
	full    chan struct{} // closed when a batch has come back and the worker is beyond most or oldest
	most    int           // items that it may run; 0 means no limit
	oldest  time.Time     // when it will be as old as it may be; zero means no limit
}

type waiter struct {
	depth int
	solo  bool
	got   chan *place // has room for one
}

// acquire waits for a worker that holds fewer than depth batches; solo asks for one that holds none and takes no other.
func (l *lender) acquire(ctx context.Context, depth int, solo bool) (*place, error) {
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return nil, l.err
	}
	if len(l.waiting) == 0 {
		if p := l.pick(depth, solo); p != nil {
			l.mu.Unlock()
			return p, nil
		}
	}
	w := &waiter{depth: depth, solo: solo, got: make(chan *place, 1)}
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	select {
	case l.crowded <- struct{}{}:
	default:
	}
	select {
	case p := <-w.got:
		return l.received(p)
	case <-ctx.Done():
	}
	l.mu.Lock()
	i := slices.Index(l.waiting, w)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		l.serve() // whoever stood behind may not need as much
	}
	l.mu.Unlock()
	if i < 0 {
		if p, err := l.received(<-w.got); err == nil {
			l.release(p, worker.End{})
		}
	}
	return nil, context.Cause(ctx)
}

// received reads what a waiter was given: nil means that the lender has closed.
func (l *lender) received(p *place) (*place, error) {
	if p != nil {
		return p, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return nil, l.err
}

// pick lends the place with the fewest batches. Called with mu held.
func (l *lender) pick(depth int, solo bool) *place {
	if solo {
		depth = 1
	}
	best := -1
	lent := min(len(l.places), l.limit)
	for i := range lent {
		at := (l.last + 1 + i) % lent
		p := l.places[at]
		if p.solo || p.lent >= depth {
			continue
		}
		if best < 0 || p.lent < l.places[best].lent || p.lent == l.places[best].lent && p.back > l.places[best].back {
			best = at // rather behind what moves than behind what may be stuck
		}
		if p.lent == 0 {
			break
		}
	}
	if best < 0 {
		return nil
	}
	p := l.places[best]
	l.last = best
	p.lent++
	p.solo = solo
	return p
}

// serve gives workers to those who wait, in order. Called with mu held.
func (l *lender) serve() {
	for len(l.waiting) > 0 {
		w := l.waiting[0]
		p := l.pick(w.depth, w.solo)
		if p == nil {
			return
		}
		l.waiting = l.waiting[1:]
		w.got <- p
	}
}

// release takes back one lending. A worker that died or that asked to be replaced is not lent again, though it may take its slot
// a moment to notice.
func (l *lender) release(p *place, end worker.End) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.lent--
	p.solo = false
	l.backs++
	p.back, p.since = l.backs, time.Now()
	if end.Leaving || end.Death != nil {
		l.drop(p)
	}
	if end.Leaving && !isClosed(p.leaving) {
		close(p.leaving)
	}
	full := p.most > 0 && p.worker.Info().Items >= p.most || !p.oldest.IsZero() && p.since.After(p.oldest)
	if full && !isClosed(p.full) {
		close(p.full)
	}
	if p.retired {
		if p.lent == 0 {
			close(p.drained)
		}
		return
	}
	l.serve()
}

// add puts a worker into the books. It is full after most items, 0 means never, and after the time oldest, zero means never.
func (l *lender) add(w worker.Worker, most int, oldest time.Time) *place {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &place{worker: w, at: len(l.places), most: most, oldest: oldest, since: time.Now(), drained: make(chan struct{}), leaving: make(chan struct{}), full: make(chan struct{})}
	l.places = append(l.places, p)
	l.count()
	l.serve()
	return p
}

// resize lends so many workers at once from now on.
func (l *lender) resize(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = n
	l.count()
	l.serve()
}

// count updates the peak. Called with mu held.
func (l *lender) count() { l.peak = max(l.peak, min(len(l.places), l.limit)) }

// queue is how many wait for a worker.
func (l *lender) queue() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// holds returns how many batches each worker holds, by number.
func (l *lender) holds() map[int]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[int]int{}
	for _, p := range l.places {
		n[p.worker.Info().Number] += p.lent
	}
	return n
}

// idle is how long a worker has held nothing; 0 for one that holds something or stands by.
func (l *lender) idle(p *place) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.lent > 0 || p.at < 0 || p.at >= l.limit {
		return 0
	}
	return time.Since(p.since)
}

// retire takes a worker out of the books for good. The returned channel is closed when nobody holds it any more. It is called
// once for each place.
func (l *lender) retire(p *place) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(p)
	p.retired = true
	if p.lent == 0 {
		close(p.drained)
	}
	return p.drained
}

// forsake lends a worker no more.
func (l *lender) forsake(p *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(p)
}

// drop keeps a worker from being lent again. It takes the same time for any number of workers, because a pool that closes drops all of them.
// Called with mu held.
func (l *lender) drop(p *place) {
	if p.at < 0 {
		return
	}
	hole, last := p.at, len(l.places)-1
	if p.at = -1; hole < l.limit && l.limit <= last { // the first worker that stands by is lent instead
		hole = l.move(l.limit, hole)
	}
	if hole < last {
		l.move(last, hole)
	}
	l.places[last] = nil
	l.places = l.places[:last]
	l.serve()
}

// move moves a place to another index and returns the index that is free then. Called with mu held.
func (l *lender) move(from, to int) int {
	l.places[to] = l.places[from]
	l.places[to].at = to
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
func (l *lender) close(err error) {
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
func (l *lender) reason(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, ErrClosed) && l.err != nil {
		return l.err
	}
	return err
}

// snapshot describes the workers in the books.
func (l *lender) snapshot(mode Mode) []WorkerInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	infos := make([]WorkerInfo, len(l.places))
	for i, p := range l.places {
		infos[i] = infoOf(p.worker.Info(), mode)
		infos[i].Batches = p.lent
		infos[i].Standby = i >= l.limit
		for _, r := range p.worker.Running() {
			infos[i].Running = append(infos[i].Running, Running{Index: r.Index, Since: r.Since})
		}
	}
	slices.SortFunc(infos, func(a, b WorkerInfo) int { return a.Worker - b.Worker })
	return infos
}
