package history

import (
	"math/bits"
	"time"
)

// Histogram counts times in buckets whose width grows with the time, so that each time is known to about six percent.
type Histogram struct {
	count   int
	sum     time.Duration
	longest time.Duration
	buckets [(64 - subBits) << subBits]int
}

// subBits is how many bits behind the first one tell buckets apart.
const subBits = 4

// add counts a time n times.
func (h *Histogram) add(took time.Duration, n int) {
	took = min(max(0, took), 1<<61)
	h.count += n
	h.sum += time.Duration(n) * took
	h.longest = max(h.longest, took)
	h.buckets[bucket(took)] += n
}

func bucket(took time.Duration) int {
	shift := max(0, bits.Len64(uint64(took))-subBits-1)
	return shift<<subBits + int(took>>shift)
}

// lower returns the shortest time of a bucket.
func lower(bucket int) time.Duration {
	shift := max(0, bucket>>subBits-1)
	return time.Duration(bucket-shift<<subBits) << shift
}

// Count returns how many times were counted.
func (h *Histogram) Count() int { return h.count }

// Sum returns all times together.
func (h *Histogram) Sum() time.Duration { return h.sum }

// Longest returns the longest time.
func (h *Histogram) Longest() time.Duration { return h.longest }

// Quantile returns a time that a share q of all times, from 0 to 1, do not exceed: 0.5 gives the median. It is 0 if nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(1, int(q*float64(h.count)+0.5))
	seen := 0
	for i, n := range h.buckets {
		if seen += n; n > 0 && seen >= rank {
			return min(h.longest, lower(i+1)-1)
		}
	}
	return 0
}

// Bar is one bucket of a [Histogram] that is not empty.
type Bar struct {
	From  time.Duration `json:"from_ns"`
	To    time.Duration `json:"to_ns"` // the next bucket begins there
	Count int           `json:"count"`
}

// Bars returns the buckets that are not empty, the shortest times first.
func (h *Histogram) Bars() []Bar {
	var bars []Bar
	for i, n := range h.buckets {
		if n > 0 {
			bars = append(bars, Bar{lower(i), lower(i + 1), n})
		}
	}
	return bars
}

// BatchSizes returns how many items the batches had. A bar from 10 ns to 11 ns stands for batches of 10 items.
func (s *Store) BatchSizes() Histogram {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sizes
}

// Times returns the times that items took in the workload, and those that they waited between being cut into a batch and being sent.
func (s *Store) Times() (run, wait Histogram) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run, s.wait
}
