package work

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/parhost/parhost/internal/wire"
)

// Results are sent on at least this often, so that a crash costs little and a reader sees something.
const flushEvery = 20 * time.Millisecond

// Items between two looks at the clock when single items are not timed: at most a percent of items that take a nanosecond.
const clockEvery = 64

// running is one job under way.
type running[In, Out any] struct {
	*instance[In, Out]
	job  *Job
	call *Call
	src  source[In]
	dst  sink[Out]

	k       int       // the place of the running item
	from    int       // of the first item not yet settled
	begun   time.Time // when the job began
	flushed time.Time // when something was last sent on
	start   time.Time // when the running item began, if items are timed
	errs    []*wire.ItemError
	places  []int
	times   []uint64
	leaving bool
}

func (r *running[In, Out]) run() {
	j := r.job
	j.overdue = -1
	r.begun = time.Now()
	r.flushed = r.begun
	if err := r.open(); err != nil {
		for k := range j.Count {
			r.fail(k, decodeError(err))
			r.dst.zero()
		}
		r.k = j.Count
		r.flush(true)
		return
	}
	if j.Timeout > 0 {
		stop := r.watch()
		defer stop()
	}
	// Deferred, because an item may end this goroutine with runtime.Goexit.
	defer func() { r.flush(true) }()
	if r.funcs.Many != nil {
		r.many()
		return
	}
	for r.k < j.Count && !r.leaving && !j.handBack.Load() && (j.Budget == 0 || r.k == 0 || time.Since(r.begun) < j.Budget) {
		r.segment()
	}
}

// open lays out the job's items and the room for its results.
func (r *running[In, Out]) open() (err error) {
	r.dst.open(&r.out, r.job)
	r.src, err = openSource(&r.in, r.job)
	return err
}

// segment runs items until one of them panics, the budget is used up, or none is left. The deferred function is paid for once
// a segment, not once an item.
func (r *running[In, Out]) segment() {
	over := false
	defer func() {
		if over {
			return
		}
		p := recover()
		e := &wire.ItemError{Kind: wire.Panicked, Message: fmt.Sprint(p), Stack: string(debug.Stack())}
		if p == nil {
			e.Message = "the item ended its goroutine (runtime.Goexit)"
		}
		r.settle(*new(Out), e)
		r.leaving = true
	}()
	j := r.job
	for r.k < j.Count && !j.handBack.Load() && r.item() {
	}
	over = true
}

// item runs the next item, and reports whether the one after it may begin at once.
func (r *running[In, Out]) item() bool {
	j := r.job
	if j.Timed {
		r.start = time.Now()
	}
	v, e := r.src.next()
	switch {
	case e != nil:
		r.settle(*new(Out), e)
	case !r.enter():
		r.settle(*new(Out), &wire.ItemError{Kind: wire.Canceled, Message: errCanceled.Error()})
	default:
		out, err := r.funcs.One(r.call, v)
		if err != nil || j.Timeout > 0 || r.call.used.Load() {
			e = r.leave(err)
		}
		r.settle(out, e)
	}
	if j.Timed || r.k%clockEvery == 0 || r.dst.size() >= wire.BatchBytes {
		return r.look(time.Now())
	}
	return true
}

// look sends on what is settled if it is time, and reports whether the budget allows another item.
func (r *running[In, Out]) look(now time.Time) bool {
	if r.job.Format != Native && (now.Sub(r.flushed) >= flushEvery || r.dst.size() >= wire.BatchBytes) && r.k < r.job.Count {
		r.flush(false)
	}
	return r.job.Budget == 0 || now.Sub(r.begun) < r.job.Budget
}

// enter makes item k the running one, and reports whether it may begin.
func (r *running[In, Out]) enter() bool {
	j := r.job
	j.current.Store(int64(r.k))
	if j.call == r.call && j.Timeout == 0 && !j.interrupted.Load() {
		return true
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.call = r.call
	if j.Timeout > 0 {
		j.started = time.Now()
		j.overdue = -1
	}
	return !j.all && !j.canceled[r.k]
}

// leave takes the finished item out of view and says what became of it, given what the workload returned.
func (r *running[In, Out]) leave(err error) *wire.ItemError {
	j := r.job
	j.mu.Lock()
	overdue := j.overdue == r.k
	if r.call.used.Load() {
		r.call.end(errCanceled) // releases what was derived from it; whoever still watches learns that the item is over
		r.call = newCall(r.call.base, j)
		j.call = r.call
	}
	j.mu.Unlock()
	switch {
	case overdue:
		return &wire.ItemError{Kind: wire.Timeout, Message: fmt.Sprintf("still running after %v", j.Timeout)}
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled) && (j.isCanceled(r.k) || r.call.base.Err() != nil):
		return &wire.ItemError{Kind: wire.Canceled, Message: err.Error()}
	default:
		return itemError(err)
	}
}

// settle writes down the result or the error of item k and steps to the next.
func (r *running[In, Out]) settle(out Out, e *wire.ItemError) {
	if e == nil {
		e = r.dst.put(out, r.job.MaxResult)
	}
	if e != nil {
		r.dst.zero()
		r.fail(r.k, e)
	}
	if r.job.Timed {
		r.times = append(r.times, uint64(time.Since(r.start)))
	}
	r.k++
}

func (r *running[In, Out]) fail(k int, e *wire.ItemError) {
	r.errs = append(r.errs, e)
	r.places = append(r.places, k)
}

// flush hands on all that is settled.
func (r *running[In, Out]) flush(last bool) {
	now := time.Now()
	p := Part{
		From: r.from, Count: r.k - r.from,
		Values: r.dst.take(), Errors: r.errs, Places: r.places, ItemNS: r.times,
		RunNS: uint64(now.Sub(r.flushed)), Last: last, Leaving: r.leaving,
	}
	r.from, r.errs, r.places, r.times, r.flushed = r.k, nil, nil, nil, now
	r.job.Settle(p)
}

// many hands all items that decode to a batch function at once.
func (r *running[In, Out]) many() {
	j := r.job
	items := make([]In, 0, j.Count)
	errs := make([]*wire.ItemError, j.Count)
	for k := range j.Count {
		v, e := r.src.next()
		switch {
		case e != nil:
			errs[k] = e
		case j.isCanceled(k):
			errs[k] = &wire.ItemError{Kind: wire.Canceled, Message: errCanceled.Error()}
		default:
			items = append(items, v)
		}
	}
	outs, fault := r.callMany(items, errs)
	for k, n := 0, 0; k < j.Count; k++ {
		switch {
		case errs[k] != nil:
			r.settle(*new(Out), errs[k])
		case fault != nil:
			r.settle(*new(Out), fault)
		default:
			r.settle(outs[n], nil)
			n++
		}
	}
}

// callMany calls the batch function. It puts errors of single items into their places in errs, and returns either one result
// for each item whose place is still free, or the fault that all of these share.
func (r *running[In, Out]) callMany(items []In, errs []*wire.ItemError) (outs []Out, fault *wire.ItemError) {
	if len(items) == 0 {
		return nil, nil
	}
	defer func() {
		if p := recover(); p != nil {
			r.leaving = true
			outs, fault = nil, &wire.ItemError{Kind: wire.Panicked, Message: fmt.Sprint(p), Stack: string(debug.Stack())}
		}
	}()
	j := r.job
	j.mu.Lock()
	j.call = r.call
	j.started = time.Now()
	j.mu.Unlock()
	outs, err := r.funcs.Many(r.call, items)
	var some *BatchError
	if errors.As(err, &some) {
		err = nil
	}
	if e := r.leave(err); e != nil {
		return nil, e
	}
	if len(outs) != len(items) {
		return nil, &wire.ItemError{Kind: wire.Failed, Message: fmt.Sprintf("batch function returned %d results for %d items", len(outs), len(items))}
	}
	if some == nil {
		return outs, nil
	}
	kept := outs[:0:0]
	n := 0
	for k := range errs {
		if errs[k] != nil {
			continue
		}
		if err := some.Errs[n]; err != nil {
			errs[k] = itemError(err)
		} else {
			kept = append(kept, outs[n])
		}
		n++
	}
	return kept, nil
}

// watch cancels each item that passes the time limit. The returned function ends the watching.
func (r *running[In, Out]) watch() (stop func()) {
	j := r.job
	var timer *time.Timer
	over := false
	look := func() {
		j.mu.Lock()
		item := j.Current()
		left := j.Timeout - time.Since(j.started)
		late := left <= 0 && j.overdue != item && j.call != nil && !over
		if late {
			j.overdue = item
			j.call.end(errOverdue)
		}
		if left <= 0 {
			left = j.Timeout
		}
		if !over {
			timer.Reset(left)
		}
		j.mu.Unlock()
		if late && j.OnOverdue != nil {
			j.OnOverdue(item)
		}
	}
	j.mu.Lock()
	j.started = time.Now()
	timer = time.AfterFunc(j.Timeout, look)
	j.mu.Unlock()
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		over = true
		timer.Stop()
	}
}
