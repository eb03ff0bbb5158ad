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

// scheduler leases workers to batches. A worker may have several leases at once, so that the next batch waits in it while the one before runs.
//
// Waiting batches are served strictly in order, so that batches which can share a worker do not overtake for ever one that needs a worker of its own.
type scheduler struct {
	mu       sync.Mutex
	entries  []*entry // the first of them, up to limit, are leased; the others stand by until one of these is gone
	retired  []*entry // that still run batches
	limit    int
	peak     int // the most workers that could be leased at once so far
	waiting  []*waiter
	crowded  chan struct{} // has room for one; receives when a batch has to wait; nil if nobody wants to know
	releases int           // leases that have ended
	last     int           // index of the last worker leased; the search begins behind it
	latest   *entry        // whose lease ended last; nil if it is gone or to be replaced
	threads  int           // batches that a worker runs at once; 0 means one
	stacked  atomic.Int64  // leases of workers beyond that: their batches wait behind others
	looking  bool          // recall will be called
	paused   bool          // Pool.Pause was called last, and not Pool.Resume, so no worker is leased
	err      error         // why no worker is leased any more; nil before
}

// entry is what the scheduler knows of one worker.
type entry struct {
	worker      worker.Worker
	index       int       // in scheduler.entries; -1 once it has been dropped
	leases      int       // batches that the worker holds
	solo        bool      // the only lease excludes others
	lastRelease int       // number of the last lease that ended, by scheduler.releases
	since       time.Time // when that lease ended, or when the worker got its only one, or was added
	stuck       bool      // the batches that it runs take long, so no batch is to wait behind them
	asking      bool      // ask is under way
	retired     bool      // drained is to be closed
	replacing   bool      // the worker is to be replaced: it is leased only in its turn

	fruitless atomic.Bool // the pool has counted the worker as one that ended with nothing done

	drained   chan struct{} // closed when the worker is retired and has no lease
	leaving   chan struct{} // closed when the worker has asked to be replaced
	expired   chan struct{} // closed when a lease has ended and the worker is beyond maxItems or expiresAt
	maxItems  int           // items that the worker may run; 0 means no limit
	expiresAt time.Time     // zero means never
}

type waiter struct {
	wish
	lease chan *entry // has room for one
}

// wish says which worker a batch needs.
type wish struct {
	depth int  // it holds fewer than depth batches
	solo  bool // it holds none, and gets no other batch
	warm  bool // better the one that ended a batch last than the next in turn, so that single items find a worker that may not sleep yet
}

// acquire waits for a worker, and leases it.
func (s *scheduler) acquire(ctx context.Context, of wish) (*entry, error) {
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return nil, s.err
	}
	if len(s.waiting) == 0 {
		if e := s.pick(of); e != nil {
			s.mu.Unlock()
			return e, nil
		}
	}
	w := &waiter{wish: of, lease: make(chan *entry, 1)}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	select {
	case s.crowded <- struct{}{}:
	default:
	}
	select {
	case e := <-w.lease:
		return s.received(e)
	case <-ctx.Done():
	}
	s.mu.Lock()
	i := slices.Index(s.waiting, w)
	if i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		s.serveWaiting() // the next one may need less
	}
	s.mu.Unlock()
	if i < 0 {
		if e, err := s.received(<-w.lease); err == nil {
			s.release(e, worker.End{}, false) // it ran nothing
		}
	}
	return nil, context.Cause(ctx)
}

// received reads what a waiter was given: nil means that the scheduler has closed.
func (s *scheduler) received(e *entry) (*entry, error) {
	if e != nil {
		return e, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return nil, s.err
}

// pick leases the worker with the fewest batches, or returns nil. Called with mu held.
func (s *scheduler) pick(of wish) *entry {
	if s.paused {
		return nil
	}
	depth := of.depth
	if of.solo {
		depth = 1
	}
	best := -1
	lent := min(len(s.entries), s.limit)
	if e := s.latest; of.warm && e != nil && e.leases == 0 && e.index < lent {
		return s.lease(e, of.solo)
	}
	for i := range lent {
		at := (s.last + 1 + i) % lent
		e := s.entries[at]
		if e.solo || e.leases >= depth || e.stuck && e.leases >= max(1, s.threads) {
			continue
		}
		if best < 0 || e.leases < s.entries[best].leases || e.leases == s.entries[best].leases && e.lastRelease > s.entries[best].lastRelease {
			best = at // a worker that ended a batch lately is less likely to be stuck in the one that it holds
		}
		if e.leases == 0 {
			break
		}
	}
	if best < 0 {
		return nil
	}
	return s.lease(s.entries[best], of.solo)
}

// lease leases a worker. Called with mu held.
func (s *scheduler) lease(e *entry, solo bool) *entry {
	s.last = e.index
	switch e.leases++; {
	case e.leases == 1:
		e.since = time.Now()
	case e.leases > max(1, s.threads):
		s.stacked.Add(1)
	}
	e.solo = solo
	return e
}

// serveWaiting leases workers to waiting batches, in order. It is called with mu held, whenever a worker may have become idle.
func (s *scheduler) serveWaiting() {
	for len(s.waiting) > 0 {
		w := s.waiting[0]
		e := s.pick(w.wish)
		if e == nil {
			return
		}
		s.waiting = s.waiting[1:]
		w.lease <- e
	}
	s.lookSoon()
}

// release ends a lease. A worker that died or that asked to be replaced gets no other lease, even before its supervisor knows of it. worked is false if the
// worker has handed the batch back with nothing done, which says nothing of the batches that it runs.
func (s *scheduler) release(e *entry, end worker.End, worked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.leases > max(1, s.threads) {
		s.stacked.Add(-1)
	}
	e.leases--
	e.solo = false
	if worked {
		e.stuck = false
		s.releases++
		e.lastRelease, e.since = s.releases, time.Now()
		if !e.replacing {
			s.latest = e
		}
	}
	if end.Leaving || end.Death != nil {
		s.drop(e)
	}
	if end.Leaving && !isClosed(e.leaving) {
		close(e.leaving)
	}
	full := e.maxItems > 0 && e.worker.Info().Items >= e.maxItems || !e.expiresAt.IsZero() && e.since.After(e.expiresAt)
	if full && !isClosed(e.expired) {
		close(e.expired)
		s.putLast(e)
	}
	if e.retired {
		if e.leases == 0 {
			close(e.drained)
			s.retired = slices.DeleteFunc(s.retired, func(o *entry) bool { return o == e })
		}
		return
	}
	s.serveWaiting()
}

// recallAfter is how long a batch may wait in a worker behind another one while a worker is idle. A batch of short items ends sooner, because of its budget.
const recallAfter = 2 * budget

// lookSoon lets recall look after recallAfter, if it may find something then. Called with mu held.
func (s *scheduler) lookSoon() {
	if !s.looking && s.stacked.Load() > 0 && s.idles() {
		s.looking = true
		time.AfterFunc(recallAfter, s.recall)
	}
}

// idles reports whether a worker has no lease and may get one. Called with mu held.
func (s *scheduler) idles() bool {
	return !s.paused && slices.ContainsFunc(s.entries[:min(len(s.entries), s.limit)], func(e *entry) bool { return e.leases == 0 })
}

// recall asks for the batches back that wait in workers behind long items, if another worker is idle.
func (s *scheduler) recall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looking = false
	if !s.idles() {
		return
	}
	for _, e := range slices.Concat(s.entries, s.retired) {
		if e.leases > max(1, s.threads) && time.Since(e.since) >= recallAfter {
			e.stuck = true
			if !e.asking {
				e.asking = true
				go s.ask(e, e.leases-max(1, s.threads))
			}
		}
	}
	s.lookSoon()
}

// ask asks a worker to hand back n batches that have not begun. Until the worker reads the messages, ask does not return.
func (s *scheduler) ask(e *entry, n int) {
	for range n {
		e.worker.Recall()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.asking = false
}

// add puts a worker into the books. It is full after most items, 0 means never, and after the time oldest, zero means never.
func (s *scheduler) add(w worker.Worker, most int, oldest time.Time) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &entry{worker: w, index: len(s.entries), maxItems: most, expiresAt: oldest, since: time.Now(), drained: make(chan struct{}), leaving: make(chan struct{}), expired: make(chan struct{})}
	s.entries = append(s.entries, e)
	s.count()
	s.serveWaiting()
	return e
}

// resize sets how many workers are leased at once.
func (s *scheduler) resize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = n
	s.count()
	s.serveWaiting()
}

// count updates the peak. Called with mu held.
func (s *scheduler) count() { s.peak = max(s.peak, min(len(s.entries), s.limit)) }

// queue returns how many batches wait for a worker, and whether they wait because the pool is paused.
func (s *scheduler) queue() (waiting int, paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting), s.paused
}

// pause sets whether workers are leased.
func (s *scheduler) pause(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = paused
	s.serveWaiting()
	if !paused && len(s.waiting) > 0 { // more workers may be needed, and nobody said so during the pause
		select {
		case s.crowded <- struct{}{}:
		default:
		}
	}
}

// holds returns how many batches each worker holds, by number.
func (s *scheduler) holds() map[int]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[int]int{}
	for _, e := range s.entries {
		n[e.worker.Info().Number] += e.leases
	}
	return n
}

// idle returns for how long a worker has had no lease: 0 if it has one or stands by.
func (s *scheduler) idle(e *entry) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.leases > 0 || e.index < 0 || e.index >= s.limit {
		return 0
	}
	return time.Since(e.since)
}

// retire drops a worker. The returned channel is closed when the worker has no lease any more. retire is called once for each worker.
func (s *scheduler) retire(e *entry) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(e)
	e.retired = true
	if e.leases == 0 {
		close(e.drained)
	} else {
		s.retired = append(s.retired, e)
	}
	return e.drained
}

// beginReplacing makes other workers come before this one, which stays if its replacement does not start.
func (s *scheduler) beginReplacing(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLast(e)
}

// putLast makes other workers come before this one. Called with mu held.
func (s *scheduler) putLast(e *entry) {
	e.replacing = true
	if s.latest == e {
		s.latest = nil
	}
}

// exclude keeps a worker from being leased again.
func (s *scheduler) exclude(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(e)
}

// drop removes a worker from the entries. It takes the same time for any number of workers, because a pool that closes drops all of them. Called with mu
// held.
func (s *scheduler) drop(e *entry) {
	if e.index < 0 {
		return
	}
	s.putLast(e)
	hole, last := e.index, len(s.entries)-1
	if e.index = -1; hole < s.limit && s.limit <= last { // the first worker that stands by takes its place
		hole = s.move(s.limit, hole)
	}
	if hole < last {
		s.move(last, hole)
	}
	s.entries[last] = nil
	s.entries = s.entries[:last]
	s.serveWaiting()
}

// move moves an entry to another index and returns the index that is free then. Called with mu held.
func (s *scheduler) move(from, to int) int {
	s.entries[to] = s.entries[from]
	s.entries[to].index = to
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

// close makes acquire fail with err, for batches that wait too. The first error stays.
func (s *scheduler) close(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	for _, w := range s.waiting {
		w.lease <- nil
	}
	s.waiting = nil
}

// closed returns the error that close was called with first, or nil if it was not called.
func (s *scheduler) closed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// reason returns the error that close was called with first, if err is only that the pool is closed.
func (s *scheduler) reason(err error) error {
	if why := s.closed(); why != nil && errors.Is(err, ErrClosed) {
		return why
	}
	return err
}

// find returns the workers with a number. A worker and its replacement have the same.
func (s *scheduler) find(number int) []worker.Worker {
	s.mu.Lock()
	entries := slices.Concat(s.entries, s.retired)
	s.mu.Unlock()
	var found []worker.Worker
	for _, e := range entries {
		if e.worker.Info().Number == number {
			found = append(found, e.worker)
		}
	}
	return found
}

// snapshot describes the workers, by number. all includes those that get no more batches, and still run some.
func (s *scheduler) snapshot(mode Mode, all bool) []WorkerInfo {
	s.mu.Lock()
	entries := s.entries
	if all {
		entries = slices.Concat(s.entries, s.retired)
	}
	infos, workers := make([]WorkerInfo, len(entries)), make([]worker.Worker, len(entries))
	for i, e := range entries {
		workers[i] = e.worker
		infos[i] = WorkerInfo{Batches: e.leases, Standby: i >= s.limit && !e.retired, Ending: e.retired}
	}
	s.mu.Unlock() // the workers take their time, and must not hold up the leases
	for i, w := range workers {
		info := infoOf(w.Info(), mode)
		info.Batches, info.Standby, info.Ending = infos[i].Batches, infos[i].Standby, infos[i].Ending
		for _, r := range w.Running() {
			info.Running = append(info.Running, Running{Index: r.Place, Since: r.Since})
		}
		infos[i] = info
	}
	slices.SortFunc(infos, func(a, b WorkerInfo) int { return a.Worker - b.Worker })
	return infos
}
