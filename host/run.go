package host

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/parhost/parhost/internal/inprocess"
	"github.com/parhost/parhost/internal/relay"
	"github.com/parhost/parhost/internal/wire"
)

// Bounds of what a run holds between its input and whoever takes its results: an endless input runs in constant memory.
const (
	maxItems = 1 << 18
	maxBytes = 64 << 20 // of items, results and errors, where their size is known without encoding them; less if memory is limited

	maxQueueItems = 1 << 15 // items read ahead of the lanes
	maxQueueBytes = 8 << 20 // of them

	heavy = 64 << 10 // bytes of a chunk; if it has more, its values are cleared once they have been taken
	large = 1 << 20  // bytes of a chunk's items; if it has more, each item is cleared as soon as it has an outcome
)

// run is one input on its way through a pool. Its lanes are goroutines: each takes the next batch, acquires a worker, waits until the batch has ended, and
// takes the next. A lane is made when there is a batch and no lane is idle.
type run[In, Out any] struct {
	pool           *Pool
	in             *wire.Codec[In]
	out            *wire.Codec[Out]
	native         bool // the workload runs the caller's own slices
	marshals       bool // encoding an item may call methods of its type, such as MarshalJSON
	json           bool // items and results travel as JSON texts
	unmarshals     bool // decoding a result may call methods of its type, such as UnmarshalJSON
	weigh          func(In) int
	weighOut       func(Out) int // the same of results, when nobody packs them
	sizer          sizer
	seed           seed
	number         int                     // of the run in its pool, from 1
	end            context.CancelCauseFunc // of the run's context
	unwatchContext func() bool             // ends the watch on it
	unwatchPool    func()                  // ends the watch on the number of workers
	onLease        func(WorkerInfo)        // told of each worker that gets a batch; may be nil
	deadline       time.Time               // of the caller's context; zero if there is none
	metadata       map[string]string       // what the caller says of the run; nil if that is nothing
	base           bare                    // what a workload on a goroutine sees of the run's context

	mu             sync.Mutex
	workReady      sync.Cond         // there may be something to do
	chunkReady     sync.Cond         // a chunk may be complete
	queueRoom      sync.Cond         // the queue may take another item
	queue          []In              // items that have been read and not cut; all items that are left, if the input is a slice
	open           bool              // the input has not ended
	known          bool              // queue is all that is left
	results        []Out             // where the results of an input that is a slice go
	cut            int               // items cut so far
	requeued       []*batch[In, Out] // batches to run again, in the opposite of input order
	requeuedItems  int               // items in them
	ordered        bool
	chunks         chunkList[In, Out]       // to be taken: all chunks if ordered, else the complete ones
	taking         int                      // chunks cut and not taken
	yielding       bool                     // the caller has a chunk
	held           int                      // items in them
	bytes          int                      // in these items and in their results and errors
	limit          int                      // of bytes; beyond it no chunk is cut and no credit granted
	granted        int                      // bytes of results that workers may send beyond the credit of their batches
	creditRequests []creditRequest[In, Out] // in input order
	exempt         *batch[In, Out]          // may bring one message of results beyond the limit; nil if none
	queued         int                      // bytes in queue, of an input that is read as it comes
	active         int                      // batches that run, or wait for their next attempt
	laneCount      int
	maxLanes       int    // more lanes would be of no use
	addLane        func() // makes a lane; called with mu held; nil if the run has none
	idleLanes      int    // lanes with nothing to do
	busyLanes      int    // lanes that have a batch
	err            error  // why the run ended early
	lanes          sync.WaitGroup
}

// newRun prepares a run; ctx ends with it.
func newRun[In, Out any](ctx context.Context, p *Pool, ordered bool) (*run[In, Out], context.Context) {
	r := &run[In, Out]{
		pool: p, ordered: ordered, in: wire.CodecOf[In](), out: wire.CodecOf[Out](),
		sizer: newSizer(&p.cfg, p.width(), p.depth(1)), seed: seedOf(ctx),
	}
	r.number = int(p.runs.Add(1))
	r.limit = p.bytes()
	r.workReady.L, r.chunkReady.L, r.queueRoom.L = &r.mu, &r.mu, &r.mu
	r.weigh, r.weighOut = weigher[In](), weigher[Out]()
	r.json = r.in.Kind != p.manifest.ItemKind || r.out.Kind != p.manifest.ResultKind
	if p.cfg.Mode != ModeProcess {
		in, out := inprocess.Core(p.cfg.Workload).Types()
		r.native = in == reflect.TypeFor[In]() && out == reflect.TypeFor[Out]()
	}
	r.marshals = !r.native && !r.in.Unchecked() && (r.json || r.in.Kind == wire.KindJSON)
	r.unmarshals = !r.native && r.out.Calls() && (r.json || r.out.Kind == wire.KindJSON)
	r.lighten()
	p.learned.begin(&r.sizer)
	r.deadline, _ = ctx.Deadline()
	r.metadata = metadataOf(ctx)
	r.checkMetadata()
	if p.cfg.Mode != ModeProcess {
		r.checkNested(ctx)
	}
	ctx, r.end = context.WithCancelCause(ctx)
	r.base = bare{Context: ctx, pool: r.base.pool, outer: r.base.outer}
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
}

// feed reads the input until it or the run ends. It is not waited for when the run ends early: nobody can call back an iterator
// that waits for its next value.
func (r *run[In, Out]) feed(items iter.Seq[In]) {
	r.open = true
	// What the run may hold has to do for two batches in each worker, and for as many whose results have not been taken.
	share := 4 * min(r.sizer.parallel, max(r.sizer.workers, runtime.GOMAXPROCS(0))) // only short items make batches as large as that
	r.sizer.limit = max(1, min(r.sizer.limit, maxItems/share))
	r.sizer.heaviest = min(r.sizer.heaviest, r.limit/share)
	go func() {
		ended := false
		defer func() {
			if ended {
				return
			}
			broken := &relay.BrokenError{Value: recover()} // nil: runtime.Goexit, as testing.T.FailNow does
			if r.halt(broken) && broken.Value != nil {
				r.pool.cfg.Logger.Error("the iterator of items panicked after its run had ended", "panic", broken.Value, "stack", string(debug.Stack()))
			}
		}()
		for item := range items {
			if !r.push(item) {
				ended = true
				return
			}
		}
		ended = true
		r.mu.Lock()
		defer r.mu.Unlock()
		r.open, r.known = false, true
		r.workReady.Broadcast()
		r.chunkReady.Broadcast()
	}()
}

// push puts an item into the queue, and reports whether more are wanted once there is room for one.
func (r *run[In, Out]) push(item In) bool {
	size := 0
	if r.weigh != nil {
		size = r.weigh(item)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, item)
	r.queued += size
	r.wake()
	for (len(r.queue) >= maxQueueItems || r.queued >= min(maxQueueBytes, r.limit/2)) && r.err == nil { // the iterator makes no item that has to wait
		r.queueRoom.Wait()
	}
	return r.err == nil
}

// watchContext ends the run when ctx does.
func (r *run[In, Out]) watchContext(ctx context.Context) {
	r.unwatchContext = context.AfterFunc(ctx, func() { r.fail(context.Cause(ctx)) })
}

// halt is fail, and reports whether the run had ended before.
func (r *run[In, Out]) halt(err error) (over bool) {
	r.mu.Lock()
	over = r.err != nil
	r.mu.Unlock()
	r.fail(err)
	return over
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
	r.grantCredits()
	r.workReady.Broadcast()
	r.chunkReady.Broadcast()
	r.queueRoom.Broadcast()
}

// errTaken ends a run whose results nobody wants any more.
var errTaken = errors.New("no more results are wanted")

// take yields the chunks as they become complete. It returns why the run ended early, or nil, when nothing of the run is under
// way any more.
func (r *run[In, Out]) take(yield func(*chunk[In, Out]) bool) error {
	defer r.pool.learned.end(&r.sizer)
	defer r.lanes.Wait()
	defer r.fail(errTaken)
	defer r.unwatchContext()
	defer r.unwatchPool()
	for {
		c, err := r.complete()
		if c == nil {
			return err
		}
		r.decode(c)
		if !yield(c) {
			return nil
		}
		r.mu.Lock()
		r.dropValues(c)
		r.yielding = false
		r.taking--
		r.held -= len(c.in)
		r.bytes -= c.bytes
		r.grantCredits()
		r.wake()
		r.mu.Unlock()
	}
}

// decode decodes the results of a complete chunk that are still JSON texts. It runs on the goroutine of the caller and with no mutex held, because
// UnmarshalJSON is the caller's and may use the pool, as the body of a loop over Stream may: the chunk counts as held meanwhile.
func (r *run[In, Out]) decode(c *chunk[In, Out]) {
	decode := r.out.Decode
	if r.json {
		decode = r.out.DecodeJSON
	}
	for i, text := range c.texts {
		if text == nil || c.errs[i] != nil {
			continue
		}
		v, err := safely(decode, text)
		if err == nil {
			c.out[i] = v
			continue
		}
		r.mu.Lock()
		r.finalize(c, i, notOfType(v, err), false, true)
		r.mu.Unlock()
	}
	clear(c.texts) // other chunks have a part of the array
	c.texts = nil
}

// dropValues drops the values of a chunk that has been taken: memory that other chunks have a part of holds them otherwise.
func (r *run[In, Out]) dropValues(c *chunk[In, Out]) {
	if r.results == nil && c.bytes >= heavy {
		clear(c.in)
		clear(c.out)
	}
}

// dropItems frees the memory of n items, from a place in the chunk on, whose outcome is known. It keeps items that have an entry in delays, because they
// will run again. Freed items no longer count against the bytes that the run may hold. Called with mu held.
func (r *run[In, Out]) dropItems(c *chunk[In, Out], from, n int, delays map[int]time.Duration) {
	if r.results != nil || r.native || c.weight < large { // the caller's own, or a workload on a goroutine may still look at them
		return
	}
	for at := from; at < from+n; at++ {
		if _, again := delays[at]; again {
			continue
		}
		weight := r.weigh(c.in[at])
		c.in[at] = *new(In)
		c.weight -= weight
		c.bytes -= weight
		r.bytes -= weight
	}
}

// complete waits for the next complete chunk and takes it out of the books; nil means that there is none any more.
func (r *run[In, Out]) complete() (*chunk[In, Out], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if c := r.chunks.head; c != nil && c.left == 0 {
			r.yielding = true
			return r.chunks.take(), nil
		}
		if over := r.taking == 0 && len(r.queue) == 0 && !r.open; r.busyLanes == 0 && (over || r.err != nil) {
			return nil, r.err // once no lane has anything to add: the last one may say that the run has failed
		}
		r.chunkReady.Wait()
	}
}

// stage returns how far the run is.
func (r *run[In, Out]) stage() stage {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := stage{queued: len(r.queue), held: r.held, next: -1, running: r.busyLanes, again: max(0, r.active-r.busyLanes) + len(r.requeued)}
	s.starved = r.open && len(r.queue) == 0 && len(r.requeued) == 0
	s.full = r.results == nil && r.held > 0 && (r.held >= maxItems || r.bytes+r.granted >= r.limit || len(r.creditRequests) > 0)
	s.ready, s.over = r.yielding, r.err != nil
	if c := r.chunks.head; c != nil {
		s.ready = s.ready || c.left == 0
		if c.left > 0 && r.ordered {
			s.next = r.seed.place(c.first + len(c.in) - c.left)
		}
	}
	return s
}
