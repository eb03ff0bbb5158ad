package host

import (
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/parhost/parhost/internal/wire"
)

// conclude sends what has no outcome yet on its way again, and blames the item that a worker died of. It reports whether the worker, which
// can run nothing any more, has run nothing in its life, and no item has been blamed for that.
func (r *run[In, Out]) conclude(t *task[In, Out], end ending, by WorkerInfo) (fruitless bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.wake()
	defer func() {
		r.publish()
		r.active--
	}()
	lost := end.lost
	from := t.from + t.settled()
	fruitless = by.Items == 0 && (lost != nil || end.leaving)
	if lost != nil && !lost.orderly && !lost.unseen {
		r.countBegun(t, from, lost)
	}
	switch {
	case from == t.to: // all settled, whatever happened then
		return false
	case lost == nil || !lost.begun:
		r.bounce(t, from, fruitless && (lost == nil || !lost.answered), end.reason(), by)
	case (lost.orderly || lost.unseen) && t.bounced < mostBounces: // it crossed the worker's end on its way
		r.repeat(t.block, from, t.to, t.solo).bounced = t.bounced + 1
	case lost.guilty >= t.settled(): // from the end on, so that each part can leave the block
		guilty := t.from + lost.guilty
		if guilty+1 < t.to {
			r.repeat(t.block, guilty+1, t.to, false)
		}
		r.pool.breaker.progress()
		r.blame(t, guilty, lost, by)
		if from < guilty {
			r.repeat(t.block, from, guilty, false)
		}
		return false
	case t.to-from == 1 && lost.alone:
		r.pool.breaker.progress()
		r.blame(t, from, lost, by)
		return false
	case lost.suspect >= t.settled(): // one of those that ran on the worker's threads was it, and in this batch only this one ran
		suspect := t.from + lost.suspect
		if suspect+1 < t.to {
			r.repeat(t.block, suspect+1, t.to, false)
		}
		r.repeat(t.block, suspect, suspect+1, true)
		if from < suspect {
			r.repeat(t.block, from, suspect, false)
		}
	default: // one of several was it: each gets a worker of its own, so that the guilty one shows
		for at := t.to - 1; at >= from; at-- {
			r.repeat(t.block, at, at+1, true)
		}
	}
	return fruitless
}

// countBegun adds one attempt to each item, from a place on, that was running when the worker died and will run again. It leaves out the blamed item,
// whose attempt is counted where it is blamed. Called with mu held.
func (r *run[In, Out]) countBegun(t *task[In, Out], from int, lost *loss) {
	last := min(t.from+lost.ran, t.to-1)
	if lost.begun && (lost.guilty >= t.settled() || t.to-from == 1 && lost.alone) {
		last = min(last, t.from+max(lost.guilty, t.settled())-1)
	}
	for at := from; at <= last; at++ {
		n := t.block.tried[at]
		n.all++
		n.blind++
		t.block.again(at, n)
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
func (r *run[In, Out]) bounce(t *task[In, Out], from int, counts bool, reason string, by WorkerInfo) {
	if !counts {
		r.repeat(t.block, from, t.to, false)
		return
	}
	n := t.bounced + 1
	if n < mostReturns {
		r.repeat(t.block, from, t.to, n >= mostBounces).bounced = n
		return
	}
	if from+1 < t.to { // from the end on, so that each part can leave the block
		r.repeat(t.block, from+1, t.to, true).bounced = mostBounces
	}
	r.blame(t, from, &loss{kind: Crashed, cause: CauseProtocol, message: fmt.Sprintf("%d workers ended without having begun it, or anything else, the last one: %s", n, reason)}, by)
}

// blame gives an item the error that its worker died of, or another attempt. Called with mu held.
func (r *run[In, Out]) blame(t *task[In, Out], at int, l *loss, by WorkerInfo) {
	b, at := r.part(t.block, at, at+1)
	s := span{from: at, n: 1, worker: by.Worker, pid: by.PID, wait: t.begun.Sub(b.cut)}
	if t.size() == 1 {
		s.run = time.Since(t.begun)
	}
	b.spans = append(b.spans, s)
	e := &ItemError{Kind: l.kind, Message: l.message, Cause: l.cause, ExitCode: l.exitCode, Signal: l.signal, Stderr: l.stderr, Dump: l.dump, Usage: l.usage}
	if !r.retry(b, at, e, l.outside && !b.tried[at].spared) {
		if l.outside && !r.mayRepeat() {
			e.Message += "; not begun again, because the plugin does not say that it is idempotent"
		}
		r.finalize(b, at, e)
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

// retry schedules another attempt of an item, if it is due one; spare gives it one more, once. Called with mu held.
func (r *run[In, Out]) retry(b *block[In, Out], at int, e *ItemError, spare bool) bool {
	p, t := r.pool, b.tried[at]
	switch {
	case e.Kind != Crashed && e.Kind != Timeout && e.Kind != OutOfMemory:
		return false
	case !r.mayRepeat():
		return false
	case spare:
		t.spared = true
	case !t.due(e.Kind, &p.cfg):
		return false
	}
	t.all++
	if e.Kind == OutOfMemory {
		t.memory++
	}
	b.again(at, t)
	e.Index, e.Attempts = b.first+at, t.all
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = 20*time.Millisecond, 10*time.Second
	var delay time.Duration
	for range t.all {
		delay = delays.NextBackOff()
	}
	r.active++
	time.AfterFunc(delay, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.active--
		r.repeat(b, at, at+1, true)
		r.wake()
	})
	r.news = append(r.news, ItemRetried{Err: e, In: delay})
	return true
}

// finalize writes down an item's last error. Called with mu held.
func (r *run[In, Out]) finalize(b *block[In, Out], at int, e *ItemError) {
	e.Index, e.Attempts = b.first+at, 1+b.tried[at].all
	if b.errs == nil {
		b.errs = map[int]*ItemError{}
	}
	b.errs[at] = e
	b.out[at] = *new(Out) // what a worker may have put there before it turned out a liar
	r.news = append(r.news, ItemFailed{Err: e})
}

// settle writes down what a worker did. The places in failed count from the task's first item.
func (r *run[In, Out]) settle(t *task[In, Out], s span, failed map[int]*ItemError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, offset := t.block, t.from
	r.redeem(t)
	r.pool.breaker.progress()
	b.spans = append(b.spans, s)
	b.bytes += s.bytes
	r.bytes += s.bytes
	n := s.n
	for at, e := range failed {
		if r.retry(b, offset+at, e, false) {
			n--
		} else {
			r.finalize(b, offset+at, e)
		}
	}
	r.publish()
	r.outcome(b, n)
	r.answer()
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
