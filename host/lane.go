package host

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/parhost/parhost/host/internal/worker"
)

// start sets the lanes going. There are none before there are items for them: whatever brings an item wakes a lane that waits, or makes one.
func (r *run[In, Out]) start(ctx context.Context) {
	r.mu.Lock() // the input may be under way
	r.most = r.sizer.lanes()
	r.lay = func() {
		r.laid++
		r.lanes.Go(func() { r.lane(ctx) })
	}
	n := min(r.pool.width(), r.most)
	if r.known {
		n = min(n, len(r.queue))
	}
	for range n {
		r.lay()
	}
	r.mu.Unlock()
	r.heed(ctx)
	r.leave = r.pool.crew.enter(r.widen)
}

// widen lets lanes be made for workers that the pool has got.
func (r *run[In, Out]) widen() {
	r.sizer.widen(r.pool.width(), r.pool.depth(1))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.most = r.sizer.lanes()
	r.wake()
}

// lane carries one task after the other.
func (r *run[In, Out]) lane(ctx context.Context) {
	for t := r.next(); t != nil; t = r.next() {
		r.perform(ctx, t)
	}
}

// ended reports whether no task will come any more.
func (r *run[In, Out]) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over()
}

// over reports whether no task will come any more. Called with mu held.
func (r *run[In, Out]) over() bool {
	return r.err != nil || !r.open && len(r.queue) == 0 && len(r.again) == 0 && r.active == 0
}

// fresh reports whether a block may be cut from the queue: there is something, and what the run holds is within its bounds. Called
// with mu held.
func (r *run[In, Out]) fresh() bool {
	return len(r.queue) > 0 && (r.results != nil || r.held == 0 || r.held < mostItems && r.bytes+r.granted < r.limit)
}

// wake lets waiting lanes know that there is something to do, or that there will be nothing any more. One is enough: it wakes the next
// if it leaves something. If none waits, there is another one, up to most. Called with mu held.
func (r *run[In, Out]) wake() {
	switch {
	case r.waiting == 0 && r.laid >= r.most:
	case r.over():
		r.tasks.Broadcast()
	case !r.admits() && !r.fresh():
	case r.waiting > 0:
		r.tasks.Signal()
	default:
		r.lay()
	}
}

// next returns the next task, waiting for one if need be, or nil when there will be none, or there are more lanes than are of use.
func (r *run[In, Out]) next() *task[In, Out] {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.over() {
		if r.laid > r.most {
			r.laid--
			r.wake() // it may have been woken for a task
			return nil
		}
		var t *task[In, Out]
		switch {
		case r.admits():
			t = r.takeAgain()
		case r.fresh():
			t = r.takeNew()
		default:
			r.waiting++
			r.tasks.Wait()
			r.waiting--
			continue
		}
		r.lent++
		r.active++
		t.depth = r.pool.depth(r.sizer.window(r.pool.cfg.Window))
		if r.results == nil { // else the caller has room for all of them
			t.options.Credit = r.sizer.credit(r.limit, r.pool.cfg.Window)
			t.options.Credit += t.Size() * max(leastResult, r.out.Width())
		}
		if r.lay != nil { // else the run has one item, and no lanes
			r.most = r.sizer.lanes() * (t.depth / r.pool.depth(1))
		}
		r.wake()
		return t
	}
	return nil
}

// admits reports whether a lane may take a task that came back. It may if the run holds fewer bytes than its limit, or if all results wait for this task.
// Called with mu held.
func (r *run[In, Out]) admits() bool {
	if len(r.again) == 0 {
		return false
	}
	return r.results != nil || !r.ordered || r.bytes+r.granted < r.limit || r.again[len(r.again)-1] == r.first()
}

// left is how many items there are for lanes to take, -1 if nobody knows because more may come. If lanes wait all the same, what there
// is has to do for all. Called with mu held.
func (r *run[In, Out]) left() int {
	if !r.known && r.waiting == 0 {
		return -1
	}
	if !r.fresh() {
		return r.returned
	}
	return r.returned + len(r.queue)
}

// takeAgain returns the first of the tasks that came back, cut down to the size of a batch. Called with mu held.
func (r *run[In, Out]) takeAgain() *task[In, Out] {
	last := len(r.again) - 1
	t, n := r.again[last], r.sizer.size(r.left())
	r.again = r.again[:last]
	r.returned -= t.Size()
	if t.Size() > n {
		r.repeat(t.block, n, t.solo).bounced = t.bounced
		t.shorten(n)
	}
	return t
}

// repeat puts the items of a block from a place on back into the list of tasks, which is in input order. Called with mu held.
func (r *run[In, Out]) repeat(b *block[In, Out], from int, solo bool) *task[In, Out] {
	t := newTask(r, r.part(b, from))
	t.solo = solo
	at, _ := slices.BinarySearchFunc(r.again, t, func(a, b *task[In, Out]) int { return cmp.Compare(b.First(), a.First()) })
	r.again = slices.Insert(r.again, at, t)
	r.returned += t.Size()
	return t
}

// part makes a block of the items from a place on, which have no outcome. Called with mu held.
func (r *run[In, Out]) part(b *block[In, Out], from int) *block[In, Out] {
	if from == 0 || from == len(b.in) {
		return b
	}
	return r.cutOff(b, from, len(b.in)-from)
}

// cutOff makes a block of the items from a place on, of which left have no outcome. Called with mu held.
func (r *run[In, Out]) cutOff(b *block[In, Out], from, left int) *block[In, Out] {
	rest := b.split(from, left, r.weigh)
	r.taking++
	if r.ordered {
		r.blocks.insert(b, rest)
	}
	if rest.left == 0 {
		r.finish(rest)
	}
	if b.left == 0 {
		r.finish(b)
	}
	return rest
}

// takeNew cuts a block from the queue. Called with mu held.
func (r *run[In, Out]) takeNew() *task[In, Out] {
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
	b := &block[In, Out]{first: r.cut, in: r.queue[:n:n], left: n, cut: time.Now(), weight: bytes, bytes: bytes}
	if r.results != nil {
		b.out = r.results[r.cut : r.cut+n : r.cut+n]
	} else {
		b.out = make([]Out, n)
	}
	r.queue = r.queue[n:]
	if len(r.queue) == 0 && !r.known {
		r.queue = nil // the blocks own the memory now
	}
	r.queued -= bytes
	r.room.Signal()
	r.cut += n
	r.held += n
	r.bytes += bytes
	r.taking++
	if r.ordered {
		r.blocks.add(b)
	}
	return newTask(r, b)
}

// perform takes a task through a worker.
func (r *run[In, Out]) perform(ctx context.Context, t *task[In, Out]) {
	p := r.pool
	t.options = worker.Options{
		JSON: r.json, Timed: p.cfg.ItemTimeout > 0 || r.sizer.timed(), Timeout: p.cfg.ItemTimeout,
		Deadline: r.deadline, Metadata: r.metadata, Seed: r.seed.number, SeedIndex: r.seedIndex, Credit: t.options.Credit,
	}
	if p.cfg.Batch == 0 {
		t.options.Budget = budget
	}
	defer r.put(t)
	at, err := p.lender.acquire(ctx, t.depth, t.solo)
	if err != nil {
		r.refuse(err)
		return
	}
	if r.onLend != nil {
		r.onLend(infoOf(at.worker.Info(), p.cfg.Mode))
	}
	t.worker.Store(&at.worker)
	t.begun = time.Now()
	end := at.worker.Run(ctx, t)
	p.lender.release(at, end)
	if !r.deadline.IsZero() {
		awaitDeadline(ctx, r.deadline)
	}
	if errors.Is(end.Err, worker.ErrStopped) {
		end.Err = ErrClosed
	}
	if end.Err == nil && ctx.Err() != nil { // its items may have ended as canceled before anybody else noticed
		end.Err = context.Cause(ctx)
	}
	if end.Err != nil {
		r.fail(p.lender.reason(end.Err))
		return
	}
	r.sizer.observe(t.trial)
	if r.conclude(t, end, at.worker.Info()) {
		p.fruitless(at, end.Reason())
	}
}

// deadlineSlack is how much later than a worker's clock the host's own may say that a deadline has passed.
const deadlineSlack = 100 * time.Millisecond

// awaitDeadline lets a context end whose deadline has passed: its worker may have noticed that first.
func awaitDeadline(ctx context.Context, deadline time.Time) {
	if time.Now().Before(deadline) || ctx.Err() != nil {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(deadlineSlack): // a context of the caller's own making
	}
}

// put says that a lane has put its task down.
func (r *run[In, Out]) put(t *task[In, Out]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lent--
	if t.options.Credit > 0 {
		r.withdraw(t)
	}
	if r.lent == 0 {
		r.ready.Broadcast()
	}
}
