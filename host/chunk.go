package host

import (
	"math"
	"slices"
	"time"
)

// chunk is consecutive items of the input, and the unit in which results are put in order. Its items without an outcome stand at its end, and one batch
// has all of them. Items that have to run again become chunks of their own, so that the caller can take the results of the others.
type chunk[In, Out any] struct {
	first int // index of the first item in the run
	cut   time.Time

	// Guarded by the run's mutex.
	in     []In
	out    []Out           // as long as in
	texts  [][]byte        // results that have not been decoded, as long as in; nil if each is decoded as it comes
	next   *chunk[In, Out] // in its list
	weight int             // bytes of the items, where they are known
	bytes  int             // weight, and the bytes of the results and errors so far
	left   int             // items without an outcome
	batch  *batch[In, Out] // has the items without an outcome; nil if there are none, and while the one item of the chunk waits for its next attempt
	errs   map[int]*ItemError
	tried  map[int]tries // attempts that failed, by place in the chunk
	spans  []span        // which worker ran which items
}

// tries counts the failed attempts of an item.
type tries struct {
	all    int
	memory int  // attempts that ran out of memory
	blind  int  // attempts that ended with a death for which no item was blamed; they do not count as retries
	spared bool // one attempt is not counted, because another process may have killed its worker
}

// due reports whether an item that has just failed is due another attempt. Config limits attempts that ran out of memory apart from the others, because
// an item that needs more memory than there is will need it again.
func (t tries) due(kind Kind, cfg *Config) bool {
	if kind == KindOutOfMemory {
		return t.memory < cfg.MemoryRetries
	}
	counted := t.all - t.memory - t.blind
	if t.spared {
		counted--
	}
	return counted < cfg.Retries
}

// again records the failed attempts of an item.
func (c *chunk[In, Out]) again(at int, t tries) {
	if c.tried == nil {
		c.tried = map[int]tries{}
	}
	c.tried[at] = t
}

// split cuts off the items from a place on and returns them as a chunk. left of them have no outcome.
func (c *chunk[In, Out]) split(at, left int, weigh func(In) int) *chunk[In, Out] {
	rest := &chunk[In, Out]{first: c.first + at, cut: c.cut, in: c.in[at:], out: c.out[at:], left: left}
	rest.weight = weighRest(c.in, at, c.weight, weigh)
	results := c.bytes - c.weight
	rest.bytes = rest.weight
	if done := len(c.in) - c.left; done > 0 { // an estimate, because the size of each result is not kept
		rest.bytes += int(int64(results) * int64(len(rest.in)-left) / int64(done))
	}
	c.in, c.out = c.in[:at:at], c.out[:at:at]
	if c.texts != nil {
		c.texts, rest.texts = c.texts[:at:at], c.texts[at:]
	}
	c.weight -= rest.weight
	c.bytes -= rest.bytes
	c.left -= left
	for place, t := range c.tried {
		if place >= at {
			rest.again(place-at, t)
			delete(c.tried, place)
		}
	}
	for place, e := range c.errs {
		if place >= at {
			rest.fail(place-at, e)
			delete(c.errs, place)
		}
	}
	for i := range c.spans {
		if s := c.spans[i].split(at); s.n > 0 {
			rest.spans = append(rest.spans, s)
		}
	}
	return rest
}

// fail records the final error of an item.
func (c *chunk[In, Out]) fail(at int, e *ItemError) {
	if c.errs == nil {
		c.errs = map[int]*ItemError{}
	}
	c.errs[at] = e
}

// weighRest returns the weight of the items from a place on. total is the weight of all items, so that only the shorter part has to be weighed.
func weighRest[In any](items []In, at, total int, weigh func(In) int) int {
	if weigh == nil {
		return 0
	}
	part, rest := items[:at], at > len(items)/2
	if rest {
		part = items[at:]
	}
	sum := 0
	for _, v := range part {
		sum += weigh(v)
	}
	if rest {
		return sum
	}
	return total - sum
}

// chunkList is chunks in the order in which they are to be taken.
type chunkList[In, Out any] struct{ head, tail *chunk[In, Out] }

func (l *chunkList[In, Out]) add(c *chunk[In, Out]) {
	if l.head == nil {
		l.head, l.tail = c, c
		return
	}
	l.insert(l.tail, c)
}

// insert puts c behind a chunk of the list.
func (l *chunkList[In, Out]) insert(after, c *chunk[In, Out]) {
	c.next, after.next = after.next, c
	if l.tail == after {
		l.tail = c
	}
}

// take removes the first chunk.
func (l *chunkList[In, Out]) take() *chunk[In, Out] {
	c := l.head
	l.head, c.next = c.next, nil
	return c
}

// span is consecutive items of a chunk whose outcomes came from one worker in one message.
type span struct {
	from, n     int
	worker, pid int
	bytes       int           // of the results, where their size is known, and of the errors
	wait, run   time.Duration // run is the time of all n items together
	mean        time.Duration // of one item; set when results are taken
	itemNS      []uint64      // the time of each item; nil if only the sum is known
	usage       []Usage       // what each item used; nil if that is not known
}

// split cuts off the part of a span that begins at a place in the chunk. The places of that part count from there.
func (s *span) split(at int) span {
	n := min(max(0, at-s.from), s.n) // items that stay
	rest := span{from: max(0, s.from-at), n: s.n - n, worker: s.worker, pid: s.pid, wait: s.wait}
	if rest.n == 0 {
		return rest
	}
	rest.run = s.run / time.Duration(s.n) * time.Duration(rest.n)
	if s.itemNS != nil {
		s.itemNS, rest.itemNS = s.itemNS[:n:n], s.itemNS[n:]
	}
	if s.usage != nil {
		s.usage, rest.usage = s.usage[:n:n], s.usage[n:]
	}
	s.n, s.run = n, s.run-rest.run
	return rest
}

// Result is what became of one item.
type Result[Out any] struct {
	Index    int // the item's place in its run, from 0
	Value    Out // the zero value if Err is set
	Err      *ItemError
	Worker   int // the worker's number; 0 if the item never reached one
	PID      int
	Attempts int           // how often the item was begun
	Wait     time.Duration // from being read to being sent to the worker
	Run      time.Duration // in the workload; the mean of its batch when items take less than some 10 µs

	// Usage is what the worker's process, and processes that it has waited for, used while the item ran. It is nil if that is not known: it is known of items
	// that take a millisecond or more, on a worker process that runs one item at a time, on Unix.
	Usage *Usage
}

// timeOf returns the time of one item of several that took run together. A worker may say anything.
func timeOf(itemNS uint64, run time.Duration) time.Duration {
	return min(time.Duration(min(itemNS, math.MaxInt64)), run)
}

// spanOf returns the span of the item at a place, nil if it has none. Where spans overlap, the last one counts.
func (c *chunk[In, Out]) spanOf(at int) *span {
	for i := range slices.Backward(c.spans) {
		if s := &c.spans[i]; s.from <= at && at < s.from+s.n {
			return s
		}
	}
	return nil
}

// results calls yield with the result of each item, in order.
func (c *chunk[In, Out]) results(yield func(Result[Out]) bool) bool {
	places := c.places()
	at := 0 // the index of the span of item i, if places is nil
	for i := range c.in {
		r := Result[Out]{Index: c.first + i, Attempts: 1}
		var s *span
		if places != nil {
			s = places[i]
		} else if at < len(c.spans) {
			if s = &c.spans[at]; i == s.from+s.n-1 {
				at++
			}
		}
		if s != nil {
			r.Worker, r.PID, r.Wait, r.Run = s.worker, s.pid, s.wait, s.mean
			if s.itemNS != nil {
				r.Run = timeOf(s.itemNS[i-s.from], s.run)
			}
			if s.usage != nil && r.Run >= countedFrom { // the first items are counted before it is known how long they take
				r.Usage = &s.usage[i-s.from]
			}
		}
		if c.tried != nil {
			r.Attempts += c.tried[i].all
		}
		if c.errs != nil {
			r.Err = c.errs[i]
		}
		if r.Err != nil {
			r.Attempts = r.Err.Attempts
		} else {
			r.Value = c.out[i]
		}
		if !yield(r) {
			return false
		}
	}
	return true
}

// places returns the span of each item. It returns nil if each span begins where the one before it ends, which is so unless an item was begun several
// times or a part of the chunk was split off.
func (c *chunk[In, Out]) places() []*span {
	next := 0
	for i := range c.spans {
		s := &c.spans[i]
		s.mean = s.run / time.Duration(max(1, s.n))
		if next >= 0 && s.from == next && s.n > 0 {
			next += s.n
		} else {
			next = -1
		}
	}
	if next >= 0 {
		return nil
	}
	places := make([]*span, len(c.in)) // where spans overlap, the last one counts
	for i := range c.spans {
		s := &c.spans[i]
		for at := s.from; at < min(s.from+s.n, len(places)); at++ { // the chunk may have been split since
			places[at] = s
		}
	}
	return places
}
