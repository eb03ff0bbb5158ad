package host

import (
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/parhost/parhost/internal/wire"
)

// What decides the size of a batch. Each batch costs the host and the worker together up to 100 µs of CPU, whatever is in it.
const (
	// budget is how long a batch may run before it hands the rest back.
	budget = 20 * time.Millisecond
	// batchTime is the time that a batch should take. It is below the budget, so that a batch which takes a little longer than estimated is not cut in two.
	batchTime = 16 * time.Millisecond
	// minBatchTime is the time of which the cost of a batch is one percent. An item that takes less than this gets a second one in its batch.
	minBatchTime = 10 * time.Millisecond

	maxBatchItems = 16384 // items; more would only delay the first result
	growth        = 32    // a batch is at most this many times the largest that has been measured

	// tailTime is the least time that a batch near the end of the input should take. Smaller batches would cost more than the time that workers wait for
	// one another at the end. It is multiplied by the number of workers that share a CPU, because all their batches cost that CPU its time.
	tailTime = 200 * time.Microsecond

	// memory is the amount of work that an estimate is based on. It is several batches, so that one unusual batch changes little.
	memory = 8 * batchTime
)

// windowTime bounds the batches that may wait in a worker behind another batch. An item, or a batch of the user's size, that takes longer goes to the next
// free worker. A window is never made deeper than the user asked for, because a batch may wait behind an item that turns out to be long.
const windowTime = batchTime

// sizer chooses the sizes of a run's batches by the time that items have taken so far.
//
// The estimate is a mean that fades: older items count less. It is of the items that fill a batch. An item so long that it uses up the budget ends its
// batch whatever the size, and would only make the next batches too small.
//
// Near the end of an input of known length a batch is at most its share of half of the items that are left (guided self-scheduling, Polychronopoulos and
// Kuck 1987), so that the last batches end at about the same time.
type sizer struct {
	fixed    int  // the size that the user gave; 0 means that the sizer chooses
	limit    int  // most items of a batch
	heaviest int  // most bytes of a batch's items, and of its results, where their size is known
	cold     bool // nothing was known of the items when the run began
	begun    time.Time

	mu       sync.Mutex
	workers  int           // of the pool
	parallel int           // most batches that run at once
	tail     time.Duration // tailTime, for the workers that share a CPU
	cut      int           // batches that have been sized
	weight   float64       // estimated bytes of a result: it rises at once, and falls slowly
	pace
}

// maxLanes bounds the batches of a run that are under way at once, unless there are more workers. Each takes some 10 KiB of the host's memory, and a
// manifest may ask for any number of threads.
const maxLanes = 8192

// parallelOf returns how many batches run at once. threads is how many each worker would run.
func parallelOf(workers, threads int) int { return min(workers*threads, max(workers, maxLanes)) }

func newSizer(cfg *Config, workers, threads int) sizer {
	parallel := parallelOf(workers, threads)
	limit := maxBatchItems
	if cfg.MaxItems > 0 { // a worker must not get more items than it may run in its life
		limit = min(limit, cfg.MaxItems)
	}
	return sizer{fixed: cfg.Batch, limit: limit, heaviest: wire.BatchBytes, begun: time.Now(), workers: workers, parallel: parallel, tail: tailOf(parallel)}
}

// widen sets the number of workers and of the batches that each runs at once.
func (s *sizer) widen(workers, threads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers, s.parallel = workers, parallelOf(workers, threads)
	s.tail = tailOf(s.parallel)
}

// Items that take less time than batchCost wait for nothing but a CPU. A few batches for each CPU are enough for them, however many threads a worker has.
// batchCost is what a batch costs the host and the worker.
const (
	batchCost = 100 * time.Microsecond
	perCPU    = 4
)

// rampTime is how long it takes until twice as many batches may run at once, at the beginning of a run. The times of many short items are known before there are
// many batches, even on a busy machine, where the first ones may seem long. Long items wait for a small part of their time.
const rampTime = 5 * time.Millisecond

// maxDoublings makes any number of lanes larger than maxLanes.
const maxDoublings = 14

// lanes returns how many batches should run at once. early says that the run has just begun, so that it may be more soon.
func (s *sizer) lanes() (n int, early bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	few := max(s.workers, perCPU*runtime.GOMAXPROCS(0))
	if few >= s.parallel {
		return s.parallel, false
	}
	n = min(s.parallel, few<<min(time.Since(s.begun)/rampTime, maxDoublings))
	early = n < s.parallel
	if s.largest > 0 && s.item() < float64(batchCost) {
		n = few
	}
	return n, early
}

func tailOf(parallel int) time.Duration {
	return tailTime * time.Duration(max(1, parallel/runtime.GOMAXPROCS(0)))
}

// pace is the time that items take.
type pace struct {
	all     mean
	most    mean // of the items that fill a batch
	largest int  // items of the largest batch measured so far; 0 means none yet
}

// item returns the time of most items in nanoseconds, 0 if nothing is known.
func (p *pace) item() float64 { return p.most.item() }

// mean is a mean time of items. Older items count less.
type mean struct{ took, items float64 }

func (m *mean) add(run time.Duration, n int) {
	fade := float64(memory) / float64(memory+run)
	m.took = m.took*fade + float64(run)
	m.items = m.items*fade + float64(n)
}

func (m *mean) item() float64 { return m.took / max(1, m.items) }

// fit returns how many items take at most d together, and at least one.
func (m *mean) fit(d time.Duration) int {
	item := m.item()
	if item <= 0 {
		return math.MaxInt32
	}
	return int(max(1, min(float64(d)/item, math.MaxInt32)))
}

// size returns how many items the next batch should have. left is how many items are left, or -1 if that is not known.
func (s *sizer) size(left int) int {
	if s.fixed > 0 {
		return s.fixed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut++
	if s.largest == 0 || s.cold && s.cut <= s.workers { // each worker gets one item before a worker gets several
		return 1
	}
	n := s.most.fit(batchTime)
	if n == 1 && s.item() < float64(minBatchTime) {
		n = 2 // two items take less than the budget
	}
	n = min(n, s.limit, growth*s.largest)
	if s.weight > 1 { // a worker keeps all results of a batch until the batch has ended
		n = min(n, max(1, int(float64(s.heaviest)/s.weight)))
	}
	if left >= 0 {
		n = min(n, max(s.all.fit(s.tail), left/(2*s.parallel)))
	}
	return n
}

// trial is what a batch teaches the sizer.
type trial struct {
	size, done int           // items of the batch, and items that have an outcome
	run        time.Duration // the time of the items that have an outcome
	last       time.Duration // the time of the last of them; 0 if it is not known
	bytes      int           // of their results
}

// add adds the next n items.
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
	case n == 1 || n < t.size: // it may have, and by how much does not matter
		run = min(run, budget)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.add(t.run, t.done)
	s.most.add(run, n)
	s.largest = max(s.largest, t.done)
	s.weight = max(float64(t.bytes)/float64(t.done), s.weight*weightFade)
}

// weightFade is the share of the estimated weight that is left after another batch with lighter results.
const weightFade = 0.9

// window returns how many batches may be in a worker for each of its threads. wish is what the user asked for.
func (s *sizer) window(wish int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.largest == 0 || s.item()*float64(max(1, s.fixed)) >= float64(windowTime) { // unknown counts as long
		return 1
	}
	return wish
}

const (
	// timedFrom is the time of an item beyond which each is timed: shorter ones, which the reading of the clock would slow down, get the mean of their batch.
	timedFrom = 10 * time.Microsecond
	// countedFrom is the time of an item from which it pays to count what each uses: that takes two microseconds.
	countedFrom = time.Millisecond
)

// measures returns what a worker should find out of each item: how long it takes, and what it uses.
func (s *sizer) measures() (timed, counted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item := time.Duration(s.item())
	return s.largest == 0 || item > timedFrom, s.largest == 0 || item >= countedFrom
}

// learned is what a pool's runs have learned about the time of items, so that the next run need not begin with a batch of one item.
type learned struct {
	mu   sync.Mutex
	pace pace
}

// begin gives a sizer what is known, if items are short: only then it saves time. Should they be longer this time, their batches hand back the items that
// do not fit the budget.
func (l *learned) begin(s *sizer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pace.item() < float64(batchTime/growth) {
		s.pace = l.pace
	}
	s.cold = s.largest == 0
}

// end learns from a sizer whose run has ended. Batches of one item teach nothing, because reading the clock takes most of their time.
func (l *learned) end(s *sizer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.largest > 1 {
		l.pace = s.pace
	}
}
