package work

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

// flushEvery is the longest time between two reports while items end. It limits what a crash can lose, and lets a reader see progress.
const flushEvery = 20 * time.Millisecond

// clockEvery is the number of items between two readings of the clock if items are not timed. For items of a nanosecond, the readings add at most 1 %.
const clockEvery = 64

// errorBytes is roughly what an error takes beside its texts.
const errorBytes = 32

// running is the state of a running job.
type running[In, Out any] struct {
	*instance[In, Out]
	job     *Job
	call    *Call
	one     func(context.Context, In) (Out, error)
	running *arena.Place
	src     source[In]
	dst     sink[Out]

	k       int           // place of the running item
	from    int           // place of the first item that has not been reported
	flushed time.Time     // time of the last report
	start   time.Time     // if items are timed: when the running item began; zero in a batch function
	share   time.Duration // of each item in the run time of its batch function
	errs    []*protocol.ItemError
	places  []int
	times   []uint64
	counts  bool             // each item's usage is counted
	before  protocol.Usage   // when the running item began, if counts is set
	usages  []protocol.Usage // of the items since the last report
	leaving bool
	weight  int         // approximate bytes of errs
	late    atomic.Bool // the budget is used up
}

func (r *running[In, Out]) run() {
	j := r.job
	j.overdue, j.between = -1, true
	r.running = j.running()
	r.flushed = time.Now()
	r.running.Since.Store(uint64(r.flushed.UnixNano()))
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
	r.counts = j.Usage && (r.funcs.Many == nil || j.Timeout > 0 || j.Alone) // in a batch function, nobody knows what each item uses
	// Deferred, because an item may end this goroutine with runtime.Goexit.
	defer func() { r.flush(true) }()
	switch {
	case r.funcs.Many != nil && j.Timeout == 0 && !j.Alone:
		r.many()
		return
	case r.funcs.Many != nil:
		r.one = r.alone
	default:
		r.one = r.funcs.One
	}
	if j.Budget > 0 && j.Count > 1 { // the first item may always run
		t := time.AfterFunc(j.Budget, func() { r.late.Store(true) })
		defer t.Stop()
	}
	for r.more() && !r.leaving {
		r.segment()
	}
}

// more reports whether another item may begin: there is one, nobody has called HandBack, and the budget allows it. The budget always allows the
// first item, because otherwise a batch could come back with nothing done again and again.
func (r *running[In, Out]) more() bool {
	return r.k < r.job.Count && !r.job.handBack.Load() && (r.k == 0 || !r.late.Load())
}

// alone passes a single item to a batch function. A time limit for each item needs to know which one is running.
func (r *running[In, Out]) alone(ctx context.Context, item In) (Out, error) {
	outs, err := r.funcs.Many(ctx, []In{item})
	if some, ok := errors.AsType[*protocol.BatchError](err); ok {
		err = some.Errs[0]
	}
	switch {
	case err != nil:
		return *new(Out), err
	case len(outs) != 1:
		return *new(Out), wrongCount(len(outs), 1)
	default:
		return outs[0], nil
	}
}

func wrongCount(results, items int) error {
	return fmt.Errorf("batch function returned %d results for %d items", results, items)
}

// open prepares the job's items and the memory for its results.
func (r *running[In, Out]) open() (err error) {
	r.dst.open(r.out, r.job)
	r.src, err = openSource(r.in, r.job)
	return err
}

// segment runs items until one of them panics, the budget is used up, or none is left. One deferred function serves the whole segment, because one
// for each item would cost more.
func (r *running[In, Out]) segment() {
	over := false
	defer func() {
		if over {
			return
		}
		p := recover()
		e := &protocol.ItemError{Kind: protocol.KindPanicked, Message: r.job.describe(p), Stack: string(debug.Stack())}
		if p == nil {
			e.Message = "the item ended its goroutine (runtime.Goexit)"
		}
		_ = r.leave(nil) // only to renew the call: the outcome of the item is the panic
		r.record(*new(Out), e)
		r.leaving = true
	}()
	for r.more() {
		if r.plain() {
			r.sprint()
		}
		if r.more() {
			r.item()
		}
	}
	over = true
}

// plain reports whether the next items are available as Go values, are not timed and have no time limit. Such an item only needs its place shown,
// the call of the workload, and its result stored.
func (r *running[In, Out]) plain() bool {
	j := r.job
	return r.src.decode == nil && r.dst.encode == nil && !j.Timed && !r.counts && j.Timeout == 0 && j.call == r.call
}

// sprint runs plain items until it is time to read the clock, an item fails or has looked at its context, or an item was canceled. It does what
// item does, in a third of the time for an item that does nothing.
func (r *running[In, Out]) sprint() {
	j, call, one, place := r.job, r.call, r.one, r.running
	in, out := r.src.native[r.src.at:], r.dst.native[r.dst.fill:]
	n := min(clockEvery-1-r.k%clockEvery, j.Count-1-r.k) // item runs the last one before each clock reading, and the last one of the job
	for i := range n {
		place.Item.Store(uint64(r.k))
		if j.interrupted.Load() || i > 0 && !r.more() { // after the store of Item, see Cancel
			return
		}
		r.src.at++
		v, err := one(call, in[i])
		if err != nil || call.used.Load() {
			r.record(v, r.leave(err))
			return
		}
		out[i] = v
		r.dst.fill++
		r.k++
	}
}

// item runs the next item.
func (r *running[In, Out]) item() {
	j := r.job
	if j.Timed {
		r.start = time.Now()
		r.running.Since.Store(uint64(r.start.UnixNano()))
	}
	if r.counts {
		r.before, _ = usage()
	}
	r.running.Item.Store(uint64(r.k)) // before decoding, which may crash the process
	v, e := r.src.next()
	switch {
	case e != nil:
		r.record(*new(Out), e)
	case !r.enter():
		r.record(*new(Out), &protocol.ItemError{Kind: protocol.KindCanceled, Message: errCanceled.Error()})
	default:
		out, err := r.one(r.call, v)
		if err != nil || j.Timeout > 0 || r.call.used.Load() {
			e = r.leave(err)
		}
		r.record(out, e)
	}
	switch {
	case j.Format == Native || r.k == j.Count:
	case r.full(), e != nil && (e.Kind == protocol.KindTimeout || e.Kind == protocol.KindCanceled): // tell the host at once: when the item's grace period is over, it kills the worker
		r.flush(false)
	case j.Timed || r.k%clockEvery == 0:
		now := time.Now()
		r.running.Since.Store(uint64(now.UnixNano()))
		if now.Sub(r.flushed) >= flushEvery {
			r.flush(false)
		}
	}
}

// full reports whether the outcomes so far fill a message.
func (r *running[In, Out]) full() bool { return r.dst.size()+r.weight >= wire.BatchBytes }

// enter makes item k the running one, and reports whether it may begin.
func (r *running[In, Out]) enter() bool {
	j := r.job
	if j.call == r.call && j.Timeout == 0 && !j.interrupted.Load() {
		return true
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if r.call.used.Load() { // the call was ended for an earlier item
		r.renew()
	}
	j.call = r.call
	if j.Timeout > 0 {
		j.started, j.overdue, j.between = j.Pulse.Mark(), -1, false
	}
	return !j.all && !j.canceled[r.k]
}

// leave marks the running item as ended. It returns the item's error, based on the error that the workload returned.
func (r *running[In, Out]) leave(err error) *protocol.ItemError {
	j := r.job
	j.mu.Lock()
	overdue := j.overdue == r.k
	j.between = true
	if r.call.used.Load() {
		r.renew()
	}
	j.mu.Unlock()
	switch {
	case overdue:
		return &protocol.ItemError{Kind: protocol.KindTimeout, Message: fmt.Sprintf("still running after %v", j.Timeout)}
	case err == nil:
		return nil
	case j.isCanceled(r.k) && (errors.Is(err, context.Canceled) || errors.Is(err, errCanceled)),
		r.call.base.Err() != nil && (errors.Is(err, r.call.base.Err()) || errors.Is(err, context.Cause(r.call.base))):
		return &protocol.ItemError{Kind: protocol.KindCanceled, Message: err.Error()}
	default:
		return itemError(err)
	}
}

// renew replaces the call by one for the next item. It ends the old call, which releases contexts derived from it and tells whoever still watches
// that the item has ended. It is called with the job's mu held.
func (r *running[In, Out]) renew() {
	r.call.end(errCanceled)
	r.call = newCall(r.call.base, r.job)
	r.job.call = r.call
}

// record stores the result or the error of item k, and goes on to the next item.
func (r *running[In, Out]) record(out Out, e *protocol.ItemError) {
	if e == nil {
		e = r.dst.put(out, r.job.MaxResult)
	}
	if e != nil {
		r.dst.zero()
		r.fail(r.k, e)
	}
	switch {
	case !r.job.Timed:
	case r.start.IsZero():
		r.times = append(r.times, nanoseconds(r.share))
	default:
		r.times = append(r.times, nanoseconds(time.Since(r.start)))
	}
	if r.counts {
		if now, ok := usage(); ok {
			r.usages = append(r.usages, since(now, r.before))
		}
	}
	r.k++
}

func (r *running[In, Out]) fail(k int, e *protocol.ItemError) {
	// The texts are cut here and not where they are sent, so that they are the same in every mode.
	e.Message, e.Stack = bound.Text(e.Message, wire.MaxMessageText), bound.Text(e.Stack, wire.MaxStackText)
	r.weight += len(e.Message) + len(e.Stack) + errorBytes
	r.errs = append(r.errs, e)
	r.places = append(r.places, k)
}

// flush reports the outcomes since the last report.
func (r *running[In, Out]) flush(last bool) {
	now := time.Now()
	values, at, used := r.dst.take(r.job.Count - r.k)
	p := Part{
		From: r.from, Count: r.k - r.from,
		Values: values, RoomAt: at, RoomUsed: used, Errors: r.errs, Places: r.places, ItemNS: r.times,
		RunNS: nanoseconds(now.Sub(r.flushed)), Last: last, Leaving: r.leaving,
	}
	if len(r.usages) == p.Count { // else some items did not get as far as to be counted
		p.Usage = r.usages
	}
	r.from, r.errs, r.places, r.times, r.usages, r.flushed, r.weight = r.k, nil, nil, nil, nil, now, 0
	r.job.Report(p)
}

// nanoseconds converts a duration for a message. Negative ones become 0: clocks of virtual machines can step back between CPUs.
func nanoseconds(d time.Duration) uint64 { return uint64(max(0, d)) }

// many passes all items that decode to a batch function at once.
func (r *running[In, Out]) many() {
	j := r.job
	if j.Count > 1 {
		j.hide()
		j.grouped.Store(true)
	}
	items := make([]In, 0, j.Count)
	places := make([]int, 0, j.Count)
	errs := make([]*protocol.ItemError, j.Count)
	for k := range j.Count {
		v, e := r.src.next()
		switch {
		case e != nil:
			errs[k] = e
		case j.isCanceled(k):
			errs[k] = &protocol.ItemError{Kind: protocol.KindCanceled, Message: errCanceled.Error()}
		default:
			items, places = append(items, v), append(places, k)
		}
	}
	r.call.places = places
	var outs []Out
	fault := &protocol.ItemError{Kind: protocol.KindPanicked, Message: "the batch function ended its goroutine (runtime.Goexit)"}
	r.leaving = true
	begun := time.Now()
	defer func() { // deferred, because nothing else runs after runtime.Goexit
		r.share = time.Since(begun) / time.Duration(max(1, len(items)))
		for n := 0; r.k < j.Count; {
			switch e := errs[r.k]; {
			case e != nil:
				r.record(*new(Out), e)
			case fault != nil:
				own := *fault
				r.record(*new(Out), &own)
			default:
				r.record(outs[n], nil)
				n++
			}
			if j.Format != Native && r.full() && r.k < j.Count {
				r.flush(false)
			}
		}
	}()
	outs, fault = r.callMany(items, errs)
	r.leaving = fault != nil && fault.Kind == protocol.KindPanicked
}

// callMany calls the batch function. It stores errors of single items in errs. It returns either a result for each item that has no error in errs,
// or one fault for all of these items.
func (r *running[In, Out]) callMany(items []In, errs []*protocol.ItemError) (outs []Out, fault *protocol.ItemError) {
	if len(items) == 0 {
		return nil, nil
	}
	defer func() {
		if p := recover(); p != nil {
			outs, fault = nil, &protocol.ItemError{Kind: protocol.KindPanicked, Message: r.job.describe(p), Stack: string(debug.Stack())}
		}
	}()
	j := r.job
	j.mu.Lock()
	j.call = r.call
	j.mu.Unlock()
	outs, err := r.funcs.Many(r.call, items)
	some, ok := errors.AsType[*protocol.BatchError](err)
	if ok {
		err = nil
	}
	if e := r.leave(err); e != nil {
		return nil, e
	}
	if len(outs) != len(items) {
		return nil, itemError(wrongCount(len(outs), len(items)))
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

// watch cancels each item that exceeds the time limit. The returned function stops it.
func (r *running[In, Out]) watch() (stop func()) {
	j := r.job
	var timer *time.Timer
	over := false
	look := func() {
		j.mu.Lock()
		item := j.Current()
		left := j.Timeout - j.Pulse.Since(j.started)
		late := left <= 0 && j.overdue != item && !j.between && !over
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
	j.started = j.Pulse.Mark()
	timer = time.AfterFunc(j.Timeout, look)
	j.mu.Unlock()
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		over = true
		timer.Stop()
	}
}
