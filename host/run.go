package host

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"sync"
	"time"

	"github.com/parhost/parhost/internal/wire"
)

// Bounds of what a run holds between its input and whoever takes its results: an endless input runs in constant memory.
const (
	mostItems = 1 << 18
	mostBytes = 64 << 20 // of items and results, where their size is known without encoding them

	queueMost  = 1 << 15 // items read ahead of the lanes
	queueBytes = 8 << 20 // of them
)

// run is one input on its way through a pool. Lanes carry it: goroutines that each take the next task, borrow a worker, wait for
// the outcome and take the next.
type run[In, Out any] struct {
	pool     *Pool
	in       wire.Codec[In]
	out      wire.Codec[Out]
	native   bool // the workload runs the caller's own slices
	json     bool // items and results travel as JSON texts
	weigh    func(In) int
	weighOut func(Out) int // the same of results, when nobody packs them
	sizer    sizer
	end      context.CancelCauseFunc // of the run's context
	unheed   func() bool             // ends the watch on it
	onLend   func(WorkerInfo)        // told of each worker that gets a task; may be nil

	mu      sync.Mutex
	tasks   sync.Cond // there may be something to do
	ready   sync.Cond // a block may be complete
	room    sync.Cond // the queue may take another item
	queue   []In      // read and not cut; the whole rest of an input that is a slice
	open    bool      // the input has not ended
	known   bool      // queue is all that is left
	results []Out     // where the results of an input that is a slice go
	cut     int       // items cut so far
	again   []*task[In, Out]
	ordered bool
	blocks  []*block[In, Out] // to be taken: ordered, all that were cut; else those that are complete
	taking  int               // blocks cut and not taken
	held    int               // items in them
	bytes   int               // in them and in their results
	queued  int               // bytes in queue, of an input that is read as it comes
	active  int               // tasks that lanes or timers have
	waiting int               // lanes with nothing to do
	lent    int               // lanes that carry a task
	err     error             // why the run ended early
	lanes   sync.WaitGroup
}

// newRun prepares a run; ctx ends with it.
func newRun[In, Out any](ctx context.Context, p *Pool, ordered bool) (*run[In, Out], context.Context) {
	r := &run[In, Out]{
		pool: p, ordered: ordered, in: wire.CodecOf[In](), out: wire.CodecOf[Out](),
		sizer: sizer{fixed: p.cfg.Batch, most: p.cfg.MaxItems, workers: p.cfg.Workers},
	}
	r.tasks.L, r.ready.L, r.room.L = &r.mu, &r.mu, &r.mu
	r.weigh, r.weighOut = weigher[In](), weigher[Out]()
	r.json = r.in.Kind != p.manifest.ItemKind || r.out.Kind != p.manifest.ResultKind
	if p.cfg.Mode != Process {
		in, out := p.cfg.Workload.Core().Types()
		r.native = in == reflect.TypeFor[In]() && out == reflect.TypeFor[Out]()
	}
	ctx, r.end = context.WithCancelCause(ctx)
	return r, ctx
}

// weigher returns a function for the bytes that an item holds beside its own size, or nil if that is nothing or unknown.
func weigher[In any]() func(In) int {
	switch t := reflect.TypeFor[In](); {
	case t.Kind() == reflect.String:
		return func(v In) int { return reflect.ValueOf(v).Len() }
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return func(v In) int { return reflect.ValueOf(v).Len() }
	case t.Kind() == reflect.Slice:
		size := int(t.Elem().Size())
		return func(v In) int { return reflect.ValueOf(v).Len() * size }
	default:
		return nil
	}
}

// feedSlice makes items the whole input, and gives their results a place.
func (r *run[In, Out]) feedSlice(items []In) {
	r.queue, r.known, r.results = items, true, make([]Out, len(items))
	r.pool.pace.begin(&r.sizer) // not for a stream: a first block that turns out slow would keep its results for long
}

// feed reads the input until it or the run ends. It is not waited for when the run ends early: nobody can call back an iterator
// that waits for its next value.
func (r *run[In, Out]) feed(items iter.Seq[In]) {
	r.open = true
	go func() {
		for item := range items {
			if !r.push(item) {
				return
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.open, r.known = false, true
		r.tasks.Broadcast()
		r.ready.Broadcast()
	}()
}

// push puts an item into the queue, and reports whether more are wanted.
func (r *run[In, Out]) push(item In) bool {
	size := 0
	if r.weigh != nil {
		size = r.weigh(item)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for (len(r.queue) >= queueMost || r.queued >= queueBytes) && r.err == nil {
		r.room.Wait()
	}
	r.queue = append(r.queue, item)
	r.queued += size
	if r.waiting > 0 {
		r.tasks.Signal()
	}
	return r.err == nil
}

// start sets the lanes going: as many as batches can be lent, or as there are items if that is known to be less.
func (r *run[In, Out]) start(ctx context.Context) {
	n := r.pool.cfg.Workers * r.pool.depth(true)
	r.mu.Lock() // the input may be under way
	if r.known {
		n = min(n, len(r.queue))
	}
	r.mu.Unlock()
	for range n {
		r.lanes.Go(func() {
			for t := r.next(); t != nil; t = r.next() {
				r.perform(ctx, t)
			}
		})
	}
	r.heed(ctx)
}

// heed ends the run when ctx does.
func (r *run[In, Out]) heed(ctx context.Context) {
	r.unheed = context.AfterFunc(ctx, func() { r.fail(context.Cause(ctx)) })
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

// next returns the next task, waiting for one if need be, or nil when there will be none.
func (r *run[In, Out]) next() *task[In, Out] {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case r.over():
			return nil
		case len(r.again) > 0:
			r.lent++
			return r.takeAgain()
		case len(r.queue) > 0 && (r.results != nil || r.held == 0 || r.held < mostItems && r.bytes < mostBytes):
			r.lent++
			return r.takeNew()
		}
		r.waiting++
		r.tasks.Wait()
		r.waiting--
	}
}

// takeAgain returns a task that came back, cut down to the size of a batch. Called with mu held.
func (r *run[In, Out]) takeAgain() *task[In, Out] {
	last := len(r.again) - 1
	t := r.again[last]
	r.again = r.again[:last]
	if n := r.sizer.size(t.size()); t.size() > n {
		rest := *t
		rest.from, t.to = t.from+n, t.from+n
		r.again = append(r.again, &rest)
		r.tasks.Signal()
	}
	r.active++
	return t
}

// takeNew cuts a block from the queue. Called with mu held.
func (r *run[In, Out]) takeNew() *task[In, Out] {
	left := -1
	if r.known {
		left = len(r.queue)
	}
	n := min(r.sizer.size(left), len(r.queue))
	bytes := 0
	if r.weigh != nil {
		for i, v := range r.queue[:n] {
			if bytes += r.weigh(v); bytes >= wire.BatchBytes {
				n = i + 1
				break
			}
		}
	}
	b := &block[In, Out]{first: r.cut, in: r.queue[:n:n], left: n, cut: time.Now(), bytes: bytes}
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
		r.blocks = append(r.blocks, b)
	}
	r.active++
	return &task[In, Out]{run: r, block: b, to: n}
}

// perform takes a task through a worker.
func (r *run[In, Out]) perform(ctx context.Context, t *task[In, Out]) {
	p := r.pool
	t.how = orders{json: r.json, timed: p.cfg.ItemTimeout > 0 || r.sizer.timed(), timeout: p.cfg.ItemTimeout}
	if p.cfg.Batch == 0 {
		t.how.budget = budget
	}
	defer r.put()
	at, err := p.lender.acquire(ctx, p.depth(r.sizer.short()), t.solo)
	if err != nil {
		r.refuse(err)
		return
	}
	if r.onLend != nil {
		r.onLend(at.worker.info())
	}
	t.begun = time.Now()
	end := at.worker.run(ctx, t)
	p.lender.release(at, end)
	if end.err == nil && ctx.Err() != nil { // its items may have ended as canceled before anybody else noticed
		end.err = context.Cause(ctx)
	}
	if end.err != nil {
		r.fail(p.lender.reason(end.err))
		return
	}
	r.conclude(t, end.lost, at.worker.info())
}

// put says that a lane has put its task down.
func (r *run[In, Out]) put() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lent--
	if r.lent == 0 {
		r.ready.Broadcast()
	}
}

// fail ends the run early, and cancels what is under way.
func (r *run[In, Out]) fail(err error) {
	r.refuse(err)
	r.end(err)
}

// refuse ends the run early, but lets what is under way come to its end.
func (r *run[In, Out]) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	r.tasks.Broadcast()
	r.ready.Broadcast()
	r.room.Broadcast()
}

// errTaken ends a run whose results nobody wants any more.
var errTaken = errors.New("no more results are wanted")

// take yields the blocks as they become complete. It returns why the run ended early, or nil, when nothing of the run is under
// way any more.
func (r *run[In, Out]) take(yield func(*block[In, Out]) bool) error {
	defer r.pool.pace.end(&r.sizer)
	defer r.lanes.Wait()
	defer r.fail(errTaken)
	defer r.unheed()
	for {
		b, err := r.complete()
		if b == nil {
			return err
		}
		if !yield(b) {
			return nil
		}
		r.mu.Lock()
		r.taking--
		r.held -= len(b.in)
		r.bytes -= b.bytes
		r.tasks.Broadcast()
		r.mu.Unlock()
	}
}

// complete waits for the next complete block and takes it out of the books; nil means that there is none any more.
func (r *run[In, Out]) complete() (*block[In, Out], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if len(r.blocks) > 0 && r.blocks[0].left == 0 {
			b := r.blocks[0]
			r.blocks[0] = nil
			r.blocks = r.blocks[1:]
			return b, nil
		}
		if over := r.taking == 0 && len(r.queue) == 0 && !r.open; r.lent == 0 && (over || r.err != nil) {
			return nil, r.err // once no lane has anything to add: the last one may say that the run has failed
		}
		r.ready.Wait()
	}
}
