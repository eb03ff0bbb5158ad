package host

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

// conclude sends what has no outcome yet on its way again, and blames the item that a worker died of.
func (r *run[In, Out]) conclude(t *task[In, Out], lost *loss, by WorkerInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active--
	defer r.tasks.Broadcast()
	from := t.from + t.done
	switch {
	case from == t.to: // all settled, whatever happened then
	case lost == nil || !lost.begun:
		r.repeat(t.block, from, t.to, false)
	case lost.orderly && t.bounced < mostBounces: // it crossed the worker's end on its way
		r.repeat(t.block, from, t.to, t.solo)
		r.again[len(r.again)-1].bounced = t.bounced + 1
	case lost.guilty >= t.done:
		guilty := t.from + lost.guilty
		r.repeat(t.block, from, guilty, false)
		r.repeat(t.block, guilty+1, t.to, false)
		r.blame(t, guilty, lost, by)
	case t.to-from == 1 && lost.alone:
		r.blame(t, from, lost, by)
	default: // one of several was it: each gets a worker of its own, so that the guilty one shows
		for at := range t.to - from {
			r.repeat(t.block, t.to-1-at, t.to-at, true)
		}
	}
}

// mostBounces is how often workers may end in order on a task before it counts as what ended them.
const mostBounces = 3

// repeat puts items of a block back among the tasks. Called with mu held.
func (r *run[In, Out]) repeat(b *block[In, Out], from, to int, solo bool) {
	if from < to {
		r.again = append(r.again, &task[In, Out]{run: r, block: b, from: from, to: to, solo: solo})
	}
}

// blame gives an item the error that its worker died of, or another attempt. Called with mu held.
func (r *run[In, Out]) blame(t *task[In, Out], at int, l *loss, by WorkerInfo) {
	b := t.block
	s := span{from: at, n: 1, worker: by.Worker, pid: by.PID, wait: t.begun.Sub(b.cut)}
	if t.size() == 1 {
		s.run = time.Since(t.begun)
	}
	b.spans = append(b.spans, s)
	e := &ItemError{Kind: l.kind, Message: l.message, ExitCode: l.exitCode, Signal: l.signal, Stderr: l.stderr, Dump: l.dump, Usage: l.usage}
	if !r.retry(b, at, e) {
		r.finalize(b, at, e)
		r.outcome(b, 1)
	}
}

// outcome says that n more items of b have theirs. Called with mu held.
func (r *run[In, Out]) outcome(b *block[In, Out], n int) {
	b.left -= n
	if b.left > 0 || n == 0 {
		return
	}
	if !r.ordered {
		r.blocks = append(r.blocks, b)
	}
	r.ready.Signal()
}

// retry schedules another attempt of an item, if it is due one. Called with mu held.
func (r *run[In, Out]) retry(b *block[In, Out], at int, e *ItemError) bool {
	p := r.pool
	switch {
	case e.Kind != Crashed && e.Kind != Timeout && e.Kind != OutOfMemory:
		return false
	case !p.manifest.Idempotent && !p.cfg.RetryAlways:
		return false
	case b.blamed[at] >= p.cfg.Retries:
		return false
	}
	if b.blamed == nil {
		b.blamed = map[int]int{}
	}
	b.blamed[at]++
	e.Index, e.Attempts = b.first+at, b.blamed[at]
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = 20*time.Millisecond, 10*time.Second
	var delay time.Duration
	for range b.blamed[at] {
		delay = delays.NextBackOff()
	}
	r.active++
	time.AfterFunc(delay, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.active--
		r.repeat(b, at, at+1, true)
		r.tasks.Broadcast()
	})
	p.cfg.Observer.Observe(ItemRetried{Err: e, In: delay})
	return true
}

// finalize writes down an item's last error. Called with mu held.
func (r *run[In, Out]) finalize(b *block[In, Out], at int, e *ItemError) {
	e.Index, e.Attempts = b.first+at, 1+b.blamed[at]
	if b.errs == nil {
		b.errs = map[int]*ItemError{}
	}
	b.errs[at] = e
	b.out[at] = *new(Out) // what a worker may have put there before it turned out a liar
	r.pool.cfg.Observer.Observe(ItemFailed{Err: e})
}

// settle writes down what a worker did. The places in failed count from offset.
func (r *run[In, Out]) settle(b *block[In, Out], s span, failed map[int]*ItemError, offset int) {
	r.sizer.observe(s.n, s.run)
	r.mu.Lock()
	defer r.mu.Unlock()
	b.spans = append(b.spans, s)
	b.bytes += s.bytes
	r.bytes += s.bytes
	n := s.n
	for at, e := range failed {
		if r.retry(b, offset+at, e) {
			n--
		} else {
			r.finalize(b, offset+at, e)
		}
	}
	r.outcome(b, n)
}
