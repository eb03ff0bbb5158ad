package host

import (
	"math"
	"time"
)

// chunk is consecutive items of the input, and the unit in which results are put in order. Items without an outcome stand at its end, and one task has all of
// them. Items that have to run again become blocks of their own, so that the caller can take the results of the others.
type chunk[In, Out any] struct {
	first int // index of the first item in the run
	cut   time.Time

	// Guarded by the run's mutex.
	in     []In
	out    []Out           // as long as in
	next   *chunk[In, Out] // in its chain
	weight int             // bytes of the items, where they are known
	bytes  int             // the same and those of the results and errors so far
	left   int             // items without an outcome
	batch   *batch[In, Out]  // of these; nil if there are none, and while the one item of the block waits for its next attempt
	errs   map[int]*ItemError
	tried  map[int]tries // items that were begun in vain
	spans  []span        // who ran what
}

// tries is how often an item was begun in vain.
type tries struct {
	all    int
	memory int  // of which it ran out of memory
	blind  int  // of which it was not known to be what its worker died of, so that they do not count as retries
	spared bool // one is not counted, because somebody else may have ended its worker
}

// due reports whether an item that has just failed is due another attempt. The two counts are apart: what needs more memory than there
// is will need it again, while many things can end a worker.
func (t tries) due(kind Kind, cfg *Config) bool {
	if kind == OutOfMemory {
		return t.memory < cfg.MemoryRetries
	}
	counted := t.all - t.memory - t.blind
	if t.spared {
		counted--
	}
	return counted < cfg.Retries
}

// again writes down one attempt more of an item.
func (c *chunk[In, Out]) again(at int, t tries) {
	if c.tried == nil {
		c.tried = map[int]tries{}
	}
	c.tried[at] = t
}

// split cuts off the items from a place on, of which left have no outcome, and returns them as a block.
func (c *chunk[In, Out]) split(at, left int, weigh func(In) int) *chunk[In, Out] {
	rest := &chunk[In, Out]{first: c.first + at, cut: c.cut, in: c.in[at:], out: c.out[at:], left: left}
	rest.weight = weighRest(c.in, at, c.weight, weigh)
	results := c.bytes - c.weight
	rest.bytes = rest.weight
	if done := len(c.in) - c.left; done > 0 { // about: what each result weighs is not kept
		rest.bytes += int(int64(results) * int64(len(rest.in)-left) / int64(done))
	}
	c.in, c.out = c.in[:at:at], c.out[:at:at]
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

// weighRest returns the weight of items from a place on, given that of all: only the shorter part has to be looked at.
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

// span is consecutive items of a block that one worker settled together.
type span struct {
	from, n     int
	worker, pid int
	bytes       int           // of the results, where they are known, and of the errors
	wait, run   time.Duration // run is that of all n
	mean        time.Duration // of one, once results are taken
	itemNS      []uint64      // nil: only the sum is known
}

// split cuts off the part of a span that begins at a place in the block. The places of that part count from there.
func (s *span) split(at int) span {
	n := min(max(0, at-s.from), s.n) // that stay
	rest := span{from: max(0, s.from-at), n: s.n - n, worker: s.worker, pid: s.pid, wait: s.wait}
	if rest.n == 0 {
		return rest
	}
	rest.run = s.run / time.Duration(s.n) * time.Duration(rest.n)
	if s.itemNS != nil {
		s.itemNS, rest.itemNS = s.itemNS[:n:n], s.itemNS[n:]
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
}

// results calls yield with the result of each item, in order.
func (c *chunk[In, Out]) results(yield func(Result[Out]) bool) bool {
	places := c.places()
	at := 0 // the span that item i is in, where spans lie in a row
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
				r.Run = min(time.Duration(min(s.itemNS[i-s.from], math.MaxInt64)), s.run) // a worker may say anything
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

// places returns the span of each item: nil if spans lie one behind the other from the first item on, as they do unless an item was
// begun several times or a part of the block went another way.
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
	places := make([]*span, len(c.in)) // of spans that overlap the last one holds
	for i := range c.spans {
		s := &c.spans[i]
		for at := s.from; at < min(s.from+s.n, len(places)); at++ { // the block may have been split since
			places[at] = s
		}
	}
	return places
}
