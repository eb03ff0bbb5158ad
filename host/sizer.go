package host

import (
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/parhost/parhost/internal/wire"
)

// What decides the size of a batch. A batch costs the host and the worker 100 µs of CPU together and more, whatever is in it.
const (
	// budget is how long a batch may run before it hands the rest back.
	budget = 20 * time.Millisecond
	// batchTime is aimed at: as long as possible, but short enough that a batch which takes a little longer than was thought is
	// not torn in two for that.
	batchTime = 16 * time.Millisecond
	// minBatchTime is the time that makes the cost of a batch one percent. If one item more gets it there, that one comes along.
	minBatchTime = 10 * time.Millisecond

	maxBatchItems = 16384 // items; more would only delay the first result
	growth    = 32    // a batch is at most this many times the largest that has been measured

	// tailTime is the least that a batch near the end is made: what its workers wait for one another then is less than more
	// batches would cost. It holds for each of the workers that share a CPU, because all their batches cost that one its time.
	tailTime = 200 * time.Microsecond

	// memory is how much work an estimate is of: some batches, so that one which differs says little.
	memory = 8 * batchTime
)

// An item that takes longer than windowTime, or a batch of a size that the user gave, should rather go to the next worker that is free
// than wait behind another. That is why a window is not made deeper by itself either, however short batches are: what waits behind an
// item that turns out long waits as long as that.
const windowTime = batchTime

// sizer sizes the batches of one run by the time that items have taken so far.
//
// The estimate is a mean in which items count the less the more work has been done since. It is of the items that fill a batch: one
// that is so long that it uses up the budget ends its batch, however many were to come, and would only make the next ones too small.
//
// Near the end of an input of known length a batch is at most its share of half of what is left (guided self-scheduling,
// Polychronopoulos and Kuck 1987), so that no worker is left with a large one alone.
type sizer struct {
	fixed    int  // set by the user; 0 means measured
	limit    int  // items of a batch
	heaviest int  // bytes of a batch's items, or of its results, where they are known
	cold     bool // nothing was known of the items at the beginning

	mu       sync.Mutex
	workers  int           // of the pool
	parallel int           // batches that run at once, at the most
	tail     time.Duration // that a batch takes at least, if there is no need for a smaller one
	cut      int           // batches sized
	weight   float64       // bytes of a result, about: those of heavy ones are forgotten slowly
	pace
}

// mostLanes is how many batches of a run are under way at once, unless there are more workers. Each takes some 10 KiB of the host, and how many
// a worker would take is a number in a manifest.
const mostLanes = 8192

// parallelOf is how many batches run at once, given how many each worker would run.
func parallelOf(workers, threads int) int { return min(workers*threads, max(workers, mostLanes)) }

func newSizer(cfg *Config, workers, threads int) sizer {
	parallel := parallelOf(workers, threads)
	limit := maxBatchItems
	if cfg.MaxItems > 0 { // that a worker may run in its life
		limit = min(limit, cfg.MaxItems)
	}
	return sizer{fixed: cfg.Batch, limit: limit, heaviest: wire.BatchBytes, workers: workers, parallel: parallel, tail: tailOf(parallel)}
}

// widen says how many workers there are from now on.
func (s *sizer) widen(workers, threads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers, s.parallel = workers, parallelOf(workers, threads)
	s.tail = tailOf(s.parallel)
}

// Items that take less than batchCost, which is what a batch costs the host and the worker, wait for nothing but a CPU. A few batches for each CPU
// are enough then, however many threads a worker has.
const (
	batchCost = 100 * time.Microsecond
	perCPU    = 4
)

// lanes is how many batches should run at once.
func (s *sizer) lanes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.largest > 0 && s.item() < float64(batchCost) {
		return min(s.parallel, max(s.workers, perCPU*runtime.GOMAXPROCS(0)))
	}
	return s.parallel
}

func tailOf(parallel int) time.Duration {
	return tailTime * time.Duration(max(1, parallel/runtime.GOMAXPROCS(0)))
}

// pace is the time that items take.
type pace struct {
	all     mean
	most    mean // of the items that fill a batch
	largest int  // batch measured; 0 means none yet
}

// item is the time of most items in nanoseconds, 0 if nothing is known.
func (p *pace) item() float64 { return p.most.item() }

// mean is of items that count the less the more work has been done since.
type mean struct{ took, items float64 }

func (m *mean) add(run time.Duration, n int) {
	fade := float64(memory) / float64(memory+run)
	m.took = m.took*fade + float64(run)
	m.items = m.items*fade + float64(n)
}

func (m *mean) item() float64 { return m.took / max(1, m.items) }

// fit returns how many items take up to so long: one at least.
func (m *mean) fit(d time.Duration) int {
	item := m.item()
	if item <= 0 {
		return math.MaxInt32
	}
	return int(max(1, min(float64(d)/item, math.MaxInt32)))
}

// size returns how many items the next batch should have, given how many are left; left < 0 means that nobody knows.
func (s *sizer) size(left int) int {
	if s.fixed > 0 {
		return s.fixed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut++
	if s.largest == 0 || s.cold && s.cut <= s.workers { // so that each worker has had an item before one gets several
		return 1
	}
	n := s.most.fit(batchTime)
	if n == 1 && s.item() < float64(minBatchTime) {
		n = 2 // which take less than the budget
	}
	n = min(n, s.limit, growth*s.largest)
	if s.weight > 1 { // results are kept until all of a batch are there
		n = min(n, max(1, int(float64(s.heaviest)/s.weight)))
	}
	if left >= 0 {
		n = min(n, max(s.all.fit(s.tail), left/(2*s.parallel)))
	}
	return n
}

// trial is what became of a batch.
type trial struct {
	size, done int           // items that it had, and that have their outcome
	run        time.Duration // that these took
	last       time.Duration // of which the last one; 0 if it is not known
	bytes      int           // of their results
}

// add tells of the n items that came next.
func (t *trial) add(n int, run time.Duration, itemNS []uint64) {
	t.run += run
	if n == 0 {
		return
	}
	t.done += n
	if t.last = 0; len(itemNS) > 0 {
		t.last = time.Duration(min(itemNS[len(itemNS)-1], math.MaxInt64))
	}
}

// observe learns from a batch.
func (s *sizer) observe(t trial) {
	if t.done == 0 {
		return
	}
	n, run := t.done, t.run
	switch before := run - t.last; {
	case n > 1 && t.last > 0 && 0 < before && before <= budget && budget < run:
		n, run = n-1, before // the last one used up the budget
	case n == 1 || n < t.size: // it may have, and how far it went beyond does not matter
		run = min(run, budget)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.add(t.run, t.done)
	s.most.add(run, n)
	s.largest = max(s.largest, t.done)
	s.weight = max(float64(t.bytes)/float64(t.done), s.weight*weightFade)
}

// weightFade is what a batch leaves of the weight of those before.
const weightFade = 0.9

// window returns how many batches may be in a worker for each of its threads, given the user's wish.
func (s *sizer) window(wish int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.largest == 0 || s.item()*float64(max(1, s.fixed)) >= float64(windowTime) { // unknown counts as long
		return 1
	}
	return wish
}

// timed reports whether each item should be timed: when items are so short that looking at the clock would show, their mean
// has to do.
func (s *sizer) timed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.largest == 0 || s.item() > float64(10*time.Microsecond)
}

// history is what a pool's runs have learnt of its items' time, so that the next run need not begin with a batch of one.
type history struct {
	mu   sync.Mutex
	pace pace
}

// begin gives a sizer what is known. Only for short items does that matter; and should they be longer this time, their batches hand
// the rest back.
func (l *history) begin(s *sizer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pace.item() < float64(batchTime/growth) {
		s.pace = l.pace
	}
	s.cold = s.largest == 0
}

// end learns from a sizer whose run is over. Single items have nothing to teach: their time is mostly that of looking at it.
func (l *history) end(s *sizer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.largest > 1 {
		l.pace = s.pace
	}
}
