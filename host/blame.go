package host

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/wire"
)

// conclude sends what has no outcome yet on its way again, and blames the item that a worker died of. It reports whether the worker, which
// can run nothing any more, has run nothing in its life, and no item has been blamed for that.
func (r *run[In, Out]) conclude(t *task[In, Out], end worker.End, by worker.Info) (fruitless bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.wake()
	defer func() {
		r.publish()
		r.active--
		r.answer() // the first task may need a worker now
	}()
	t.block.task = nil
	to := len(t.block.in)
	from := t.from + t.Done()
	fruitless = by.Items == 0 && (end.Death != nil || end.Leaving)
	var v worker.Verdict
	if end.Death != nil {
		v = end.Death.Verdict
	}
	r.countBegun(t, from, v.Begun)
	switch {
	case from == to: // all have an outcome, whatever happened then
		return false
	case v.Outcome == worker.Innocent:
		r.bounce(t, from, fruitless && (end.Death == nil || v.Unexplained), end.Reason(), by)
	case v.Crossed && t.bounced < mostBounces:
		r.repeat(t.block, from, t.solo).bounced = t.bounced + 1
	case v.Outcome == worker.Guilty: // from the end on
		guilty := t.from + v.Item
		if guilty+1 < to {
			r.repeat(t.block, guilty+1, false)
		}
		r.pool.breaker.progress()
		r.blame(t, guilty, end.Death, by)
		if from < guilty {
			r.repeat(t.block, from, false)
		}
		return false
	case v.Outcome == worker.Suspect:
		suspect := t.from + v.Item
		if suspect+1 < to {
			r.repeat(t.block, suspect+1, false)
		}
		r.repeat(t.block, suspect, true)
		if from < suspect {
			r.repeat(t.block, from, false)
		}
	default: // each gets a worker of its own, so that the guilty one shows
		for at := to - 1; at >= from; at-- {
			r.repeat(t.block, at, true)
		}
	}
	return fruitless
}

// countBegun adds one attempt to each of n items, from a place on, that were running when the worker died and will run again. Called with mu held.
func (r *run[In, Out]) countBegun(t *task[In, Out], from, n int) {
	for at := from; at < min(from+n, len(t.block.in)); at++ {
		tried := t.block.tried[at]
		tried.all++
		tried.blind++
		t.block.again(at, tried)
	}
}

const (
	// mostBounces is how often workers may end on a task that they have not begun, by their own account, before it counts as what ended
	// them, or gets a worker of its own.
	mostBounces = 3
	// mostReturns is how often a task may come back from workers that have run nothing at all before its first item fails. It is less than
	// brokenAfter, so that one item costs itself and not the run.
	mostReturns = 4
)

// bounce puts a task back that its worker has not begun, by its own account. That costs no attempt, so it is counted where nothing else bounds
// it: when the worker has run nothing in its life and nothing else is blamed for its end. Called with mu held.
func (r *run[In, Out]) bounce(t *task[In, Out], from int, counts bool, reason string, by worker.Info) {
	if !counts {
		r.repeat(t.block, from, false)
		return
	}
	n := t.bounced + 1
	if n < mostReturns {
		r.repeat(t.block, from, n >= mostBounces).bounced = n
		return
	}
	if from+1 < len(t.block.in) { // from the end on
		r.repeat(t.block, from+1, true).bounced = mostBounces
	}
	r.blame(t, from, &worker.Death{Error: wire.ItemError{
		Kind: Crashed, Cause: CauseProtocol, Message: fmt.Sprintf("%d workers ended without having begun it, or anything else, the last one: %s", n, reason),
	}}, by)
}

// blame gives the last item of a task's block the error that its worker died of, or another attempt. Called with mu held.
func (r *run[In, Out]) blame(t *task[In, Out], at int, d *worker.Death, by worker.Info) {
	b := r.part(t.block, at)
	s := span{n: 1, worker: by.Number, pid: by.PID, wait: t.begun.Sub(b.cut)}
	if t.Size() == 1 {
		s.run = time.Since(t.begun)
	}
	b.spans = append(b.spans, s)
	e := new(ItemError)
	*e = d.Error
	if delay, ok := r.retry(b, 0, e, d.Outside && !b.tried[0].spared); ok {
		r.postpone(b, delay)
	} else {
		if d.Outside && !r.mayRepeat() {
			e.Message += "; not begun again, because the plugin does not say that it is idempotent"
		}
		r.finalize(b, 0, e)
		weight := wire.Weight(e)
		b.bytes += weight
		r.bytes += weight
		r.due = append(r.due, b)
	}
}

// mayRepeat reports whether items may be begun again.
func (r *run[In, Out]) mayRepeat() bool { return r.pool.manifest.Idempotent || r.pool.cfg.RetryAlways }

// outcome says that n more items of b have theirs. Called with mu held.
func (r *run[In, Out]) outcome(b *block[In, Out], n int) {
	b.left -= n
	if b.left > 0 || n == 0 {
		return
	}
	r.finish(b)
}

// finish says that all items of b have their outcome. Called with mu held.
func (r *run[In, Out]) finish(b *block[In, Out]) {
	if !r.ordered {
		r.blocks.add(b)
	}
	r.ready.Signal()
}

// retry grants an item another attempt after a delay, if the item has attempts left. spare grants one more, once per item. Called with mu held.
func (r *run[In, Out]) retry(b *block[In, Out], at int, e *ItemError, spare bool) (delay time.Duration, ok bool) {
	p, t := r.pool, b.tried[at]
	switch {
	case e.Kind != Crashed && e.Kind != Timeout && e.Kind != OutOfMemory:
		return 0, false
	case !r.mayRepeat():
		return 0, false
	case spare:
		t.spared = true
	case !t.due(e.Kind, &p.cfg):
		return 0, false
	}
	t.all++
	if e.Kind == OutOfMemory {
		t.memory++
	}
	b.again(at, t)
	e.Index, e.Attempts = b.first+at, t.all
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = 20*time.Millisecond, 10*time.Second
	for range t.all {
		delay = delays.NextBackOff()
	}
	r.news = append(r.news, ItemRetried{Err: e, In: delay})
	return delay, true
}

// postpone puts a block of one item back among the tasks after a delay. Called with mu held.
func (r *run[In, Out]) postpone(b *block[In, Out], delay time.Duration) {
	r.active++
	time.AfterFunc(delay, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.active--
		r.repeat(b, 0, true)
		r.wake()
		r.answer() // it may need a worker
	})
}

// finalize writes down an item's last error. Called with mu held.
func (r *run[In, Out]) finalize(b *block[In, Out], at int, e *ItemError) {
	e.Index, e.Attempts = b.first+at, 1+b.tried[at].all
	b.fail(at, e)
	b.out[at] = *new(Out) // what a worker may have put there before it turned out a liar
	r.news = append(r.news, ItemFailed{Err: e})
}

// record writes down what a worker did. The places in failed count from the task's first item.
func (r *run[In, Out]) record(t *task[In, Out], s span, failed map[int]*ItemError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, offset := t.block, t.from
	r.redeem(t)
	r.pool.breaker.progress()
	b.spans = append(b.spans, s)
	b.bytes += s.bytes
	r.bytes += s.bytes
	var delays map[int]time.Duration // of items that get another attempt
	for at, e := range failed {
		if delay, ok := r.retry(b, offset+at, e, false); ok {
			if delays == nil {
				delays = map[int]time.Duration{}
			}
			delays[offset+at] = delay
		} else {
			r.finalize(b, offset+at, e)
		}
	}
	r.letGoItems(b, s.from, s.n, delays)
	r.publish()
	if len(delays) > 0 {
		r.detach(t, b, s.n, delays)
	} else {
		r.outcome(b, s.n)
	}
	r.answer()
}

// detach makes blocks of their own of the items among the last n with an outcome that get another attempt, so that the results of the others can be
// taken. Called with mu held.
func (r *run[In, Out]) detach(t *task[In, Out], b *block[In, Out], n int, delays map[int]time.Duration) {
	r.peel(t)
	if t.block != b {
		b.task = nil
	}
	b.left -= n - len(delays)
	for _, at := range slices.Backward(slices.Sorted(maps.Keys(delays))) {
		if at+1 < len(b.in) {
			r.cutOff(b, at+1, 0)
		}
		r.postpone(r.part(b, at), delays[at])
	}
	if t.block == b { // all items of the task have an outcome, and those behind the end of b are in other blocks now
		t.from = len(b.in) - t.Done()
	}
}

// publish gives mu up while the Observer hears of what has come up. Whoever waits for the items sees their outcome then. Called with mu held.
func (r *run[In, Out]) publish() {
	news, due := r.news, r.due
	r.news, r.due = nil, nil
	if len(news) > 0 && r.pool.cfg.Observer != nil {
		r.mu.Unlock()
		for _, e := range news {
			r.pool.cfg.observe(e)
		}
		r.mu.Lock()
	}
	for _, b := range due {
		r.outcome(b, 1)
	}
}
