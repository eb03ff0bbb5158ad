package host

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/relay"
	"github.com/parhost/parhost/internal/wire"
)

// start starts the lanes. There are none before there are items for them: whatever brings an item wakes an idle lane, or makes one.
func (r *run[In, Out]) start(ctx context.Context) {
	r.mu.Lock() // the input may be under way
	r.ramp()
	r.addLane = func() {
		r.laneCount++
		r.lanes.Go(func() { r.lane(ctx) })
	}
	n := min(r.pool.width(), r.maxLanes)
	if r.known {
		n = min(n, len(r.queue))
	}
	for range n {
		r.addLane()
	}
	r.mu.Unlock()
	r.watchContext(ctx)
	r.unwatchPool = r.pool.scaler.subscribe(r)
	select {
	case r.pool.began <- struct{}{}:
	default:
	}
}

// ramp sets how many lanes there may be at the beginning of a run, and again as time passes. Called with mu held.
func (r *run[In, Out]) ramp() {
	lanes, early := r.sizer.lanes()
	if r.maxLanes = max(r.maxLanes, lanes); !early || r.over() {
		return
	}
	time.AfterFunc(rampTime, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ramp()
		r.wake()
	})
}

// widen adapts the number of lanes to the number of workers, which has grown.
func (r *run[In, Out]) widen() {
	r.sizer.widen(r.pool.width(), r.pool.depth(1))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ramp()
	r.wake()
}

// lane runs one batch after the other.
func (r *run[In, Out]) lane(ctx context.Context) {
	returns := false
	defer func() {
		if !returns { // MarshalJSON has ended this goroutine (runtime.Goexit, testing.T.FailNow), and so the caller's has to end
			r.fail(&relay.BrokenError{})
		}
	}()
	for b := r.next(); b != nil; b = r.next() {
		r.runBatch(ctx, b)
		runtime.Gosched() // the goroutine that reads the input adds items, so that the next batch is no smaller than it need be
	}
	returns = true
}

// ended reports whether no batch will come any more.
func (r *run[In, Out]) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over()
}

// over reports whether no batch will come any more. Called with mu held.
func (r *run[In, Out]) over() bool {
	return r.err != nil || !r.open && len(r.queue) == 0 && len(r.requeued) == 0 && r.active == 0
}

// fresh reports whether a chunk may be cut from the queue: there are items, and what the run holds is within its bounds. Called with mu held.
func (r *run[In, Out]) fresh() bool {
	return len(r.queue) > 0 && (r.results != nil || r.held == 0 || r.held < maxItems && r.bytes+r.granted < r.limit)
}

// wake wakes an idle lane if there is a batch for it, and all of them if there will be no more. One lane is enough, because it wakes the next one if it
// leaves something. If no lane is idle, wake makes one, up to maxLanes. Called with mu held.
func (r *run[In, Out]) wake() {
	switch {
	case r.idleLanes == 0 && r.laneCount >= r.maxLanes:
	case r.over():
		r.workReady.Broadcast()
	case !r.admits() && !r.fresh():
	case r.idleLanes > 0:
		r.workReady.Signal()
	default:
		r.addLane()
	}
}

// next waits until there is a batch for the lane, and returns it. It returns nil if the lane is to end, because the run has no further batch or more lanes than it
// can use.
func (r *run[In, Out]) next() *batch[In, Out] {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.over() {
		if r.laneCount > r.maxLanes+int(r.pool.scheduler.stacked.Load()) { // a batch that waits behind a long item keeps no other worker busy
			r.laneCount--
			r.wake() // it may have been woken for a batch
			return nil
		}
		var b *batch[In, Out]
		switch {
		case r.admits():
			b = r.takeRequeued()
		case r.fresh():
			b = r.takeNew()
		default:
			r.idleLanes++
			r.workReady.Wait()
			r.idleLanes--
			continue
		}
		r.busyLanes++
		r.active++
		b.depth = r.pool.depth(r.sizer.window(r.pool.cfg.Window))
		if r.results == nil { // else the caller has room for all of them
			b.options.Credit = r.sizer.credit(r.limit, r.pool.cfg.Window)
			b.options.Credit += b.Size() * max(leastResult, r.out.Width())
		}
		if r.addLane != nil { // else the run has one item, and no lanes
			lanes, _ := r.sizer.lanes()
			r.maxLanes = lanes * (b.depth / r.pool.depth(1))
		}
		r.wake()
		return b
	}
	return nil
}

// admits reports whether a lane may take a batch that came back. It may if the run holds fewer bytes than its limit, or if all results wait for this batch.
// Called with mu held.
func (r *run[In, Out]) admits() bool {
	if len(r.requeued) == 0 {
		return false
	}
	return r.results != nil || !r.ordered || r.bytes+r.granted < r.limit || r.requeued[len(r.requeued)-1] == r.first()
}

// left returns how many items there are for the lanes to take, or -1 if more may come. If a lane is idle, the items that are there are shared among all
// lanes, so their number is returned then. Called with mu held.
func (r *run[In, Out]) left() int {
	if !r.known && r.idleLanes == 0 {
		return -1
	}
	if !r.fresh() {
		return r.requeuedItems
	}
	return r.requeuedItems + len(r.queue)
}

// takeRequeued takes the first of the requeued batches, cut down to the size that the sizer wants. Called with mu held.
func (r *run[In, Out]) takeRequeued() *batch[In, Out] {
	last := len(r.requeued) - 1
	b, n := r.requeued[last], r.sizer.size(r.left())
	r.requeued = r.requeued[:last]
	r.requeuedItems -= b.Size()
	if b.Size() > n {
		r.requeue(b.chunk, n, b.solo).returns = b.returns
		b.shorten(n)
	}
	return b
}

// requeue makes a batch of the items of a chunk from a place on, and puts it into the list of requeued batches. Called with mu held.
func (r *run[In, Out]) requeue(c *chunk[In, Out], from int, solo bool) *batch[In, Out] {
	b := newBatch(r, r.part(c, from))
	b.solo = solo
	at, _ := slices.BinarySearchFunc(r.requeued, b, func(a, b *batch[In, Out]) int { return cmp.Compare(b.First(), a.First()) })
	r.requeued = slices.Insert(r.requeued, at, b)
	r.requeuedItems += b.Size()
	return b
}

// part splits off the items of a chunk from a place on, which have no outcome, and returns them as a chunk. Called with mu held.
func (r *run[In, Out]) part(c *chunk[In, Out], from int) *chunk[In, Out] {
	if from == 0 || from == len(c.in) {
		return c
	}
	return r.cutOff(c, from, len(c.in)-from)
}

// cutOff splits off the items of a chunk from a place on and returns them as a chunk. left of them have no outcome. Called with mu held.
func (r *run[In, Out]) cutOff(c *chunk[In, Out], from, left int) *chunk[In, Out] {
	rest := c.split(from, left, r.weigh)
	r.taking++
	if r.ordered {
		r.chunks.insert(c, rest)
	}
	if rest.left == 0 {
		r.chunkDone(rest)
	}
	if c.left == 0 {
		r.chunkDone(c)
	}
	return rest
}

// takeNew cuts a chunk from the queue. Called with mu held.
func (r *run[In, Out]) takeNew() *batch[In, Out] {
	n := min(r.sizer.size(r.left()), len(r.queue))
	bytes := 0
	if r.weigh != nil {
		for i, v := range r.queue[:n] {
			if bytes += r.weigh(v); bytes >= r.sizer.heaviest {
				n = i + 1
				break
			}
		}
	}
	c := &chunk[In, Out]{first: r.cut, in: r.queue[:n:n], left: n, cut: time.Now(), weight: bytes, bytes: bytes}
	if r.results != nil {
		c.out = r.results[r.cut : r.cut+n : r.cut+n]
	} else {
		c.out = make([]Out, n)
	}
	if r.unmarshals {
		c.texts = make([][]byte, n)
	}
	r.queue = r.queue[n:]
	if len(r.queue) == 0 && !r.known {
		r.queue = nil // the chunks own the memory now
	}
	r.queued -= bytes
	r.queueRoom.Signal()
	r.cut += n
	r.held += n
	r.bytes += bytes
	r.taking++
	if r.ordered {
		r.chunks.add(c)
	}
	return newBatch(r, c)
}

// runBatch acquires a worker and runs a batch on it.
func (r *run[In, Out]) runBatch(ctx context.Context, b *batch[In, Out]) {
	p := r.pool
	timed, counted := r.sizer.measures()
	b.options = worker.Options{
		JSON: r.json, Timed: p.cfg.ItemTimeout > 0 || timed, Usage: counted, Timeout: p.cfg.ItemTimeout, CPU: p.cfg.ItemCPU,
		Deadline: r.deadline, Metadata: r.metadata, Seed: r.seed.number, Credit: b.options.Credit,
	}
	if r.seed.index != nil {
		b.options.SeedIndex = r.seed.indexes(b.First(), b.Size())
	}
	if p.cfg.Batch == 0 {
		b.options.Budget = budget
	}
	defer r.finishBatch(b)
	if r.addLane != nil { // an Observer may wait for a run of one item
		r.awaitObserver(ctx)
	}
	if r.marshals && !r.marshal(b) {
		return
	}
	e, err := p.scheduler.acquire(ctx, wish{b.depth, b.solo, r.addLane == nil})
	if err != nil {
		r.refuse(err)
		return
	}
	if r.onLease != nil {
		r.onLease(infoOf(e.worker.Info(), p.cfg.Mode))
	}
	b.worker.Store(&e.worker)
	b.begun = time.Now()
	r.saySent(b, e)
	before := b.Done()
	end := e.worker.Run(ctx, b)
	p.scheduler.release(e, end, b.Done() > before || end != worker.End{})
	if !r.deadline.IsZero() {
		awaitDeadline(ctx, r.deadline)
	}
	if errors.Is(end.Err, worker.ErrStopped) {
		end.Err = ErrClosed
	}
	if end.Err == nil && ctx.Err() != nil { // its items may have ended as canceled because of ctx
		end.Err = context.Cause(ctx)
	}
	if end.Err != nil {
		r.fail(p.scheduler.reason(end.Err))
		return
	}
	r.sizer.observe(b.trial)
	if r.conclude(b, end, e.worker.Info()) {
		p.fruitless(e, end.Reason())
	}
}

// saySent tells the Observer that a batch goes to a worker.
func (r *run[In, Out]) saySent(b *batch[In, Out], e *entry) {
	if r.pool.cfg.events == nil {
		return
	}
	to := e.worker.Info()
	r.pool.cfg.events.put(BatchSent{At: b.begun, Worker: to.Number, PID: to.PID, Input: r.number, First: worker.PlaceOf(b, b.Done()), Items: b.Size() - b.Done()})
}

// marshal encodes the items of a batch before the batch has a worker, because methods such as MarshalJSON are the caller's and may wait for a worker. It cuts
// the batch down to one column, and reports whether there is anything to send.
func (r *run[In, Out]) marshal(b *batch[In, Out]) bool {
	column, n, bad := b.Encode(0, b.Size(), wire.BatchBytes, nil)
	if bad != nil { // of the first item
		b.begun = time.Now()
		b.Fail(0, bad)
		b.Complete(1, worker.Info{}, 0, nil, nil) // it never reached a worker
		r.conclude(b, worker.End{}, worker.Info{})
		return false
	}
	b.column = column
	if n < b.Size() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.requeue(b.chunk, n, b.solo).returns = b.returns
		b.shorten(n)
		r.wake()
	}
	return true
}

// awaitObserver waits while too many events wait for the Observer.
func (r *run[In, Out]) awaitObserver(ctx context.Context) {
	if full := r.pool.cfg.events.full(); full != nil {
		select {
		case <-full:
		case <-r.pool.stop:
		case <-ctx.Done():
		}
	}
}

// deadlineSlack bounds how much later than a worker's clock the host's clock may say that a deadline has passed.
const deadlineSlack = 100 * time.Millisecond

// awaitDeadline waits until ctx has ended, if its deadline has passed: a worker may notice that first.
func awaitDeadline(ctx context.Context, deadline time.Time) {
	if time.Now().Before(deadline) || ctx.Err() != nil {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(deadlineSlack): // the caller's own context type may not end by itself
	}
}

// finishBatch ends a lane's work on a batch.
func (r *run[In, Out]) finishBatch(b *batch[In, Out]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busyLanes--
	if b.options.Credit > 0 {
		r.withdraw(b)
	}
	if r.busyLanes == 0 {
		r.chunkReady.Broadcast()
	}
}
