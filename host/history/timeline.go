package history

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/parhost/parhost/host"
)

const (
	firstWidth = 10 * time.Millisecond // of a bin; it doubles whenever the run outgrows its bins
	maxBins    = 1024                  // of each lane
	minBins    = 32
	// budget is how many bins all lanes may have together. It bounds the memory of a store: a bin takes 40 bytes.
	budget = 160_000
	// maxLanes is how many lanes there may be. What runs beyond them is shown in the last one.
	maxLanes = budget / minBins
)

// Bin is what happened in a lane during a span of time.
type Bin struct {
	Busy   time.Duration `json:"busy"`   // that the workload took
	Items  uint32        `json:"items"`  // that were done in batches, failed ones included
	Failed uint32        `json:"failed"` // items that got their final error; in the first lane of the worker, unless it died of them
	Bytes  int64         `json:"bytes"`  // of items and results; of the whole worker, in its first lane
	RSS    int64         `json:"rss"`    // the most memory that its process had resident; in its first lane
	CPU    time.Duration `json:"cpu"`    // that its process used, as far as it was looked at; in its first lane
}

func (b *Bin) count(items, failed int) {
	b.Items = uint32(min(uint64(b.Items)+uint64(items), math.MaxUint32))
	b.Failed = uint32(min(uint64(b.Failed)+uint64(failed), math.MaxUint32))
}

func (b *Bin) merge(o *Bin) {
	b.Busy += o.Busy
	b.count(int(o.Items), int(o.Failed))
	b.Bytes += o.Bytes
	b.RSS = max(b.RSS, o.RSS)
	b.CPU += o.CPU
}

// PoolBin is what a pool looked like during a span of time.
type PoolBin struct {
	Queued int                         `json:"queued"` // the most that was seen
	Held   int                         `json:"held"`
	Waits  map[host.Wait]time.Duration `json:"waits"` // what the run waited for, and for how long
}

func (b *PoolBin) merge(o *PoolBin) {
	b.Queued, b.Held = max(b.Queued, o.Queued), max(b.Held, o.Held)
	for wait, took := range o.Waits {
		b.wait(wait, took)
	}
}

func (b *PoolBin) wait(wait host.Wait, took time.Duration) {
	if b.Waits == nil {
		b.Waits = map[host.Wait]time.Duration{}
	}
	b.Waits[wait] += took
}

// lane is a row of the timeline: items that a worker runs one after the other.
type lane struct {
	worker, thread int
	bins           []Bin
}

// timeline is lanes of bins, all of the same width.
type timeline struct {
	begun time.Time
	width time.Duration
	limit int // bins of a lane
	lanes []*lane
	pools []PoolBin
}

func newTimeline(begun time.Time) timeline {
	return timeline{begun: begun, width: firstWidth, limit: maxBins}
}

// lane returns a lane of a worker, and makes it if there is none.
func (s *Store) lane(w *worker, thread int) *lane {
	for len(w.lanes) <= thread {
		w.lanes = append(w.lanes, s.timeline.add(w.number, len(w.lanes)))
	}
	return w.lanes[thread]
}

// occupy makes a batch part of a lane of its worker, and returns the lane.
func (s *Store) occupy(w *worker, begun, ended time.Time) (l *lane, from time.Time) {
	thread, from := w.packed.Place(begun, ended, w.threads)
	l = s.lane(w, thread)
	s.timeline.busy(l, from, ended)
	return l, from
}

// add makes a lane.
func (t *timeline) add(worker, thread int) *lane {
	if len(t.lanes) == maxLanes {
		return t.lanes[maxLanes-1]
	}
	l := &lane{worker: worker, thread: thread}
	t.lanes = append(t.lanes, l)
	for t.limit > minBins && t.limit*len(t.lanes) > budget {
		t.halve()
		t.limit /= 2
		for _, l := range t.lanes {
			l.bins = slices.Clone(l.bins) // gives back what it had room for
		}
	}
	return l
}

// index returns the index of the bin of a time, and makes room for it.
func (t *timeline) index(at time.Time) int {
	i := t.place(at)
	for i >= t.limit {
		t.halve()
		i = t.place(at)
	}
	return i
}

func (t *timeline) place(at time.Time) int { return int(max(0, at.Sub(t.begun)) / t.width) }

// at returns the bin of a lane at a time. It is valid until the next call.
func (t *timeline) at(l *lane, at time.Time) *Bin {
	i := t.index(at)
	l.grow(i)
	return &l.bins[i]
}

func (l *lane) grow(i int) {
	if more := i + 1 - len(l.bins); more > 0 {
		l.bins = append(l.bins, make([]Bin, more)...)
	}
}

// busy spreads the time of a batch over the bins.
func (t *timeline) busy(l *lane, begun, ended time.Time) {
	last := t.index(ended)
	l.grow(last)
	for i := t.place(begun); i <= last; i++ {
		from, to := t.begun.Add(time.Duration(i)*t.width), t.begun.Add(time.Duration(i+1)*t.width)
		if from.Before(begun) {
			from = begun
		}
		if to.After(ended) {
			to = ended
		}
		l.bins[i].Busy += max(0, to.Sub(from))
	}
}

// pool adds a sample.
func (t *timeline) pool(e *host.Sampled, now spell) {
	i := t.index(e.At)
	if more := i + 1 - len(t.pools); more > 0 {
		t.pools = append(t.pools, make([]PoolBin, more)...)
	}
	b := &t.pools[i]
	b.Queued, b.Held = max(b.Queued, e.State.Queued), max(b.Held, e.State.Held)
	b.wait(now.wait, now.took)
}

// halve makes one bin of each two.
func (t *timeline) halve() {
	for _, l := range t.lanes {
		l.bins = pairs(l.bins, (*Bin).merge)
	}
	t.pools = pairs(t.pools, (*PoolBin).merge)
	t.width *= 2
}

// pairs merges each two elements into one.
func pairs[E any](list []E, merge func(a, b *E)) []E {
	n := (len(list) + 1) / 2
	for i := range n {
		list[i] = list[2*i]
		if 2*i+1 < len(list) {
			merge(&list[i], &list[2*i+1])
		}
	}
	clear(list[n:])
	return list[:n]
}

// Timeline is what happened in a span of time, in bins of equal width.
type Timeline struct {
	From  time.Duration `json:"from"` // since the store was made
	Width time.Duration `json:"width"`
	Lanes []Lane        `json:"lanes"` // sorted by worker and thread
	Pool  []PoolBin     `json:"pool"`
}

// Lane is a row of a [Timeline]: items that a worker ran one after the other. A worker that runs several items at once has several lanes.
type Lane struct {
	Worker int   `json:"worker"`
	Thread int   `json:"thread"` // from 0
	Bins   []Bin `json:"bins"`
}

// Timeline returns the time between from and to, since the store was made, in at most n bins. What is not known in that detail comes in wider bins.
func (s *Store) Timeline(from, to time.Duration, n int) Timeline {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.timeline
	first := int(max(0, from) / t.width)
	count := max(0, min(int(max(0, to)/t.width)+1, t.used())-first)
	group := max(1, (count+max(1, n)-1)/max(1, n)) // bins that become one
	view := Timeline{From: time.Duration(first) * t.width, Width: time.Duration(group) * t.width}
	for _, l := range t.lanes {
		view.Lanes = append(view.Lanes, Lane{l.worker, l.thread, groups(l.bins, first, count, group, (*Bin).merge)})
	}
	slices.SortFunc(view.Lanes, func(a, b Lane) int { return cmp.Or(a.Worker-b.Worker, a.Thread-b.Thread) })
	view.Pool = groups(t.pools, first, count, group, (*PoolBin).merge)
	return view
}

// Lanes returns how many lanes a [Timeline] has.
func (s *Store) Lanes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.timeline.lanes)
}

// used returns how many bins have been used.
func (t *timeline) used() int {
	n := len(t.pools)
	for _, l := range t.lanes {
		n = max(n, len(l.bins))
	}
	return n
}

// groups returns count elements from first on, of which each group has been merged into one. Elements that are not there are zero.
func groups[E any](list []E, first, count, group int, merge func(a, b *E)) []E {
	merged := make([]E, (count+group-1)/group)
	for i := range min(count, max(0, len(list)-first)) {
		merge(&merged[i/group], &list[first+i])
	}
	return merged
}
