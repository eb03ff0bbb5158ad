package host

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

// conclude requeues the items of a batch that have no outcome yet, and blames the item that its worker died of. It reports whether the worker ended
// without having run an item in its life, and without an item to blame for that.
func (r *run[In, Out]) conclude(b *batch[In, Out], end worker.End, by worker.Info) (fruitless bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.wake()
	defer func() {
		r.active--
		r.grantCredits() // the first batch may need a worker now
	}()
	if b.chunk.batch == b { // else its item has got another attempt already
		b.chunk.batch = nil
	}
	to := len(b.chunk.in)
	from := b.from + b.Done()
	fruitless = by.Items == 0 && (end.Death != nil || end.Leaving)
	var v worker.Verdict
	if end.Death != nil {
		v = end.Death.Verdict
	}
	r.countBegun(b, from, v.Begun)
	switch {
	case from == to: // all have an outcome, whatever happened then
		return false
	case v.Outcome == worker.Innocent:
		r.putBack(b, from, fruitless && (end.Death == nil || v.Unexplained), end.Reason(), by)
	case v.Crossed && b.returns < soloAfter:
		r.requeue(b.chunk, from, b.solo).returns = b.returns + 1
	case v.Outcome == worker.Guilty: // from the end of the chunk to its front, because requeue and blame split off its end
		guilty := b.from + v.Item
		if guilty+1 < to {
			r.requeue(b.chunk, guilty+1, false)
		}
		r.pool.breaker.progress()
		r.blame(b, guilty, end.Death, by)
		if from < guilty {
			r.requeue(b.chunk, from, false)
		}
		return false
	case v.Outcome == worker.Suspect:
		suspect := b.from + v.Item
		if suspect+1 < to {
			r.requeue(b.chunk, suspect+1, false)
		}
		r.requeue(b.chunk, suspect, true)
		if from < suspect {
			r.requeue(b.chunk, from, false)
		}
	default: // each item gets a worker of its own, so that the guilty one shows
		for at := to - 1; at >= from; at-- {
			r.requeue(b.chunk, at, true)
		}
	}
	return fruitless
}

// countBegun counts one more attempt of each of n items from a place on. They were running when the worker died, and will run again. Called with mu held.
func (r *run[In, Out]) countBegun(b *batch[In, Out], from, n int) {
	for at := from; at < min(from+n, len(b.chunk.in)); at++ {
		tried := b.chunk.tried[at]
		tried.all++
		tried.blind++
		b.chunk.again(at, tried)
	}
}

const (
	// A batch gets a worker of its own after soloAfter workers have ended and said that they had not begun it. If it then happens again, an item of the
	// batch is suspected.
	soloAfter = 3
	// The first item of a batch fails after failAfter workers have ended with the batch and had run nothing at all. It is less than brokenAfter, so that
	// one such item does not end the run.
	failAfter = 4
)

// putBack requeues a batch whose worker said that it had not begun it. That costs no attempt. With counts it is counted nevertheless, because nothing else
// bounds how often it happens: the worker has run nothing in its life, and no other batch is blamed for its end. Called with mu held.
func (r *run[In, Out]) putBack(b *batch[In, Out], from int, counts bool, reason string, by worker.Info) {
	if !counts {
		r.requeue(b.chunk, from, false)
		return
	}
	n := b.returns + 1
	if n < failAfter {
		r.requeue(b.chunk, from, n >= soloAfter).returns = n
		return
	}
	if from+1 < len(b.chunk.in) { // first, because blame splits off the end of the chunk
		r.requeue(b.chunk, from+1, true).returns = soloAfter
	}
	r.blame(b, from, &worker.Death{Error: protocol.ItemError{
		Kind: KindCrashed, Cause: CauseProtocol, Message: fmt.Sprintf("%d workers ended without having begun it, or anything else, the last one: %s", n, reason),
	}}, by)
}

// blame gives the last item of a batch's chunk another attempt, or else the error that its worker died of. Called with mu held.
func (r *run[In, Out]) blame(b *batch[In, Out], at int, d *worker.Death, by worker.Info) {
	c := r.part(b.chunk, at)
	s := span{n: 1, worker: by.Number, pid: by.PID, wait: b.begun.Sub(c.cut), run: time.Since(b.begun)}
	if !b.latest.IsZero() { // the items before it in the batch have taken a part of that
		s.run = time.Since(b.latest)
	}
	c.spans = append(c.spans, s)
	e := new(ItemError)
	*e = d.Error
	if delay, ok := r.retry(c, 0, e, true, d.Outside && !c.tried[0].spared); ok {
		r.postpone(c, delay)
	} else {
		if d.Outside && !r.mayRepeat() {
			e.Message += "; not begun again, because the plugin does not say that it is idempotent"
		}
		r.finalize(c, 0, e, true, false)
		weight := wire.Weight(e)
		c.bytes += weight
		r.bytes += weight
		r.addOutcomes(c, 1)
	}
}

// mayRepeat reports whether items may be begun again.
func (r *run[In, Out]) mayRepeat() bool { return r.pool.manifest.Idempotent || r.pool.cfg.RetryAlways }

// retry grants an item another attempt after a delay, if the item has attempts left. blamed says that the item's worker died of it. spare grants one more
// attempt, once per item. Called with mu held.
func (r *run[In, Out]) retry(c *chunk[In, Out], at int, e *ItemError, blamed, spare bool) (delay time.Duration, ok bool) {
	p, t := r.pool, c.tried[at]
	switch {
	case e.Kind != KindCrashed && e.Kind != KindTimeout && e.Kind != KindOutOfMemory:
		return 0, false
	case !r.mayRepeat():
		return 0, false
	case spare:
		t.spared = true
	case !t.due(e.Kind, &p.cfg):
		return 0, false
	}
	t.all++
	if e.Kind == KindOutOfMemory {
		t.memory++
	}
	c.again(at, t)
	e.Index, e.Attempts = c.first+at, t.all
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = 20*time.Millisecond, 10*time.Second
	for range t.all {
		delay = delays.NextBackOff()
	}
	if r.pool.cfg.events != nil {
		r.pool.cfg.events.put(ItemRetried{At: time.Now(), Attempt: r.attempt(c, at, e, blamed), In: delay})
	}
	return delay, true
}

// postpone requeues a chunk of one item after a delay. Called with mu held.
func (r *run[In, Out]) postpone(c *chunk[In, Out], delay time.Duration) {
	r.active++
	time.AfterFunc(delay, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.active--
		r.requeue(c, 0, true)
		r.wake()
		r.grantCredits() // it may need a worker
	})
}

// finalize records an item's last error. blamed says that the item's worker died of it. late says that the item was counted as done before. Called with mu
// held.
func (r *run[In, Out]) finalize(c *chunk[In, Out], at int, e *ItemError, blamed, late bool) {
	e.Index, e.Attempts = c.first+at, 1+c.tried[at].all
	c.fail(at, e)
	c.out[at] = *new(Out) // a worker that broke the protocol may have put a value there
	if r.pool.cfg.events != nil {
		r.pool.cfg.events.put(ItemFailed{At: time.Now(), Attempt: r.attempt(c, at, e, blamed), Late: late})
	}
}

// attempt describes the last attempt at an item, which failed. Called with mu held.
func (r *run[In, Out]) attempt(c *chunk[In, Out], at int, e *ItemError, blamed bool) Attempt {
	a := Attempt{Input: r.number, Place: r.seed.place(e.Index), Err: e, Item: itemText(c.in[at]), Blamed: blamed}
	if s := c.spanOf(at); s != nil {
		a.Worker, a.Took = s.worker, s.run/time.Duration(s.n)
		if s.itemNS != nil {
			a.Took = timeOf(s.itemNS[at-s.from], s.run)
		}
	}
	return a
}

// detach puts each item that gets another attempt into a chunk of its own, so that the results of the other items can be taken. delays holds these items,
// which are among the last n with an outcome. Called with mu held.
func (r *run[In, Out]) detach(b *batch[In, Out], c *chunk[In, Out], n int, delays map[int]time.Duration) {
	r.peel(b)
	if b.chunk != c {
		c.batch = nil
	}
	c.left -= n - len(delays)
	for _, at := range slices.Backward(slices.Sorted(maps.Keys(delays))) {
		if at+1 < len(c.in) {
			r.cutOff(c, at+1, 0)
		}
		r.postpone(r.part(c, at), delays[at])
	}
	if b.chunk == c { // all items of the batch have an outcome, and those behind the end of c are in other chunks now
		b.from = len(c.in) - b.Done()
	}
}
