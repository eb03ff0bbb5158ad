package host

import (
	"sync"
	"time"
)

// What decides the size of a batch. A batch costs the host and the worker about 50 µs together, whatever is in it.
const (
	batchTime = 5 * time.Millisecond // aimed at: the cost of a batch is then one percent
	batchMost = 16384                // items; more would only delay the first result
	growth    = 32                   // a batch is at most this many times the largest that has been measured
	budget    = 4 * batchTime        // a batch that runs this long hands the rest back

	// A batch near the end is not made smaller than this: what its workers wait for one another then is less than more batches
	// would cost.
	tailTime = 200 * time.Microsecond
)

// Below this time per item a batch is made to wait in a worker behind the one that runs there; an item that takes longer
// should rather go to the next worker that is free.
const windowTime = 10 * time.Millisecond

// sizer sizes the batches of one run by the time that items have taken so far.
//
// The estimate is the mean of the last batches, weighted by 0.2 for the newest (as joblib's). Near the end of an input of known
// length a batch is at most its share of half of what is left (guided self-scheduling, Polychronopoulos and Kuck 1987), so that
// no worker is left with a large one alone.
type sizer struct {
	fixed   int // set by the user; 0 means measured
	most    int // items that a worker may run in its life; 0 means no limit
	workers int

	mu      sync.Mutex
	item    time.Duration // estimate of one item
	largest int           // batch measured; 0 means none yet
}

// size returns how many items the next batch should have, given how many are left; left < 0 means that nobody knows.
func (s *sizer) size(left int) int {
	if s.fixed > 0 {
		return s.fixed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.largest == 0 {
		return 1
	}
	n := min(batchMost, growth*s.largest)
	if s.most > 0 {
		n = min(n, s.most)
	}
	if s.item > 0 {
		n = min(n, max(1, int(batchTime/s.item)))
	}
	if left >= 0 {
		least := 1
		if s.item > 0 {
			least = max(1, int(tailTime/s.item))
		}
		n = min(n, max(least, left/(2*s.workers)))
	}
	return n
}

// observe learns from n items that took run together.
func (s *sizer) observe(n int, run time.Duration) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	item := run / time.Duration(n)
	if s.largest == 0 {
		s.item = item
	} else {
		s.item = (4*s.item + item) / 5
	}
	s.largest = max(s.largest, n)
}

// short reports whether items take so little time that a batch may wait in a worker; unknown counts as long.
func (s *sizer) short() bool {
	if s.fixed > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.largest > 0 && s.item*time.Duration(s.fixed) < windowTime
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.largest > 0 && s.item < windowTime
}

// timed reports whether each item should be timed: when items are so short that looking at the clock would show, their mean
// has to do.
func (s *sizer) timed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.largest == 0 || s.item > 10*time.Microsecond
}

// pace is what a pool's runs have learnt of its items' time, so that the next run need not begin with a batch of one.
type pace struct {
	mu      sync.Mutex
	item    time.Duration
	largest int
}

// begin gives a sizer what is known. Only for short items does that matter; and should they be longer this time, their batches hand
// the rest back.
func (p *pace) begin(s *sizer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.item < batchTime/growth {
		s.item, s.largest = p.item, p.largest
	}
}

// end learns from a sizer whose run is over. Single items have nothing to teach: their time is mostly that of looking at it.
func (p *pace) end(s *sizer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.largest > 1 {
		p.item, p.largest = s.item, s.largest
	}
}
