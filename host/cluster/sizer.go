package cluster

import "time"

// sizer chooses how many items a batch has, and how many batches are under way. The figures behind its constants are in docs/cluster-simulation.md.
type sizer struct {
	fixed    int           // Config.Batch; 0 if the time of the items decides
	slots    int           // of all nodes; 0 if no node is known
	way      time.Duration // to the servers and back; 0 if it is not known
	item     time.Duration // that an item takes, by what was measured last
	last     int           // size by the last measurement
	measured bool
	since    time.Time // when the first items were measured
}

const (
	leastTime  = 100 * time.Millisecond // that a batch should take: long beside the few milliseconds of its way, and short beside a run
	slotTime   = time.Millisecond       // the same, for each slot: so all slots together ask for 1000 batches a second, which three servers carry
	mostTime   = 10 * time.Second
	wayTimes   = 10     // the same, in ways to the servers: a slot waits for two of them between batches
	ageShare   = 2      // a batch should take no more than this part of the time that the run has taken, so that its end is not long beside the rest
	endShare   = 16     // at the end of the input, batches become no smaller than this part
	mostItems  = 10_000 // of a batch
	leastSlots = 4      // assumed while no node is known
	leastOpen  = 64     // batches under way, once items have been measured
	growth     = 16     // between two measurements
	reserve    = 300 * time.Millisecond
	mostAhead  = 3         // batches that wait for each slot
	leastBytes = 64 << 20  // of items under way and results that wait for their turn, unless it is one batch
	slotBytes  = 128 << 10 // the same, for each slot
)

func newSizer(fixed int) sizer { return sizer{fixed: fixed, last: 1} }

// size returns how many of the waiting items the next batch should have. At the end of the input, batches are smaller, so that no slot is idle while
// another still has several batches to run.
func (s *sizer) size(waiting int, ended bool) int {
	switch {
	case s.fixed > 0:
		return s.fixed
	case !s.measured:
		return 1
	}
	n := s.last
	if ended {
		n = min(n, max(1, n/endShare, waiting/max(1, s.slots)))
	}
	return n
}

// window returns how many batches without a result may be under way. What waits for a slot should last for the reserve, and not longer, because the batches of
// other jobs wait behind it. Before anything was measured, there are only as many as begin at once and one more for each, because their size is a guess.
func (s *sizer) window() int {
	slots := max(leastSlots, s.slots)
	if !s.measured && s.fixed == 0 {
		return 2 * slots
	}
	ahead := 1 + int(reserve/max(1, s.batch()))
	return max(leastOpen, slots*(1+min(ahead, mostAhead)))
}

// batch returns how long a batch takes.
func (s *sizer) batch() time.Duration { return s.item * time.Duration(max(s.fixed, s.last)) }

// turn returns about how long it takes from offering a batch to its result.
func (s *sizer) turn() time.Duration {
	return s.batch() * time.Duration(s.window()/max(leastSlots, s.slots))
}

// bytes returns how much of items and results a submitter keeps.
func (s *sizer) bytes() int { return max(leastBytes, s.slots*slotBytes) }

// took learns from the results of a batch.
func (s *sizer) took(a *answer, now time.Time) {
	sum := time.Duration(0)
	for i := range a.results {
		sum += a.results[i].Run
	}
	each := max(1, sum/time.Duration(len(a.results)))
	if s.measured {
		each = (s.item + each) / 2
	} else {
		s.since = now
	}
	s.item, s.measured = each, true
	want := min(max(time.Duration(s.slots)*slotTime, wayTimes*s.way), mostTime, now.Sub(s.since)/ageShare)
	s.last = int(min(int64(growth*s.last), max(1, int64(max(want, leastTime)/each)), mostItems))
}
