package process

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/session"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// Worker is a plugin process that runs batches. The host talks to it over one stream for all its life.
type Worker struct {
	options  *Options
	number   int
	pid      int
	started  time.Time
	logger   hclog.Logger
	child    *child.Process
	client   *plugin.Client
	service  workerpb.WorkerServiceClient
	manifest *workerpb.Manifest
	link     *link.Link   // nil if there is none
	arena    *sharedArena // nil if there is none
	shared   bool         // the worker has mapped the arena
	buffers  bool         // the worker has mapped the pool's buffers
	items    atomic.Int64 // run so far

	cancel  context.CancelFunc // breaks the stream
	session *session.Session   // set with mu held; nil before the set-up
	reading sync.WaitGroup     // the receiver

	mu      sync.Mutex
	kill    *kill  // why the host killed it, or what the stream ended with; nil if neither
	over    bool   // the memory that it shares may be gone
	stopped bool   // the pool has ended it
	reason  string // how it ended, in short
	recent  recent // the items that have just ended

	failing  chan struct{} // closed at the first sign of the end
	gone     chan struct{} // closed when the end has been judged
	failOnce sync.Once
	buryOnce sync.Once
}

var _ worker.Worker = (*Worker)(nil)

// call is the items of a batch that go to the worker in one message, from being sent to their last results.
type call struct {
	session.Batch
	worker *Worker
	b      worker.Batch
	base   int           // the place in the batch of the first item sent
	late   func()        // ends the grace of an overdue item; nil if none is; guarded by the worker's mu
	seen   seenItem      // the item that the black box named when it was last looked at, since when it has; guarded likewise
	end    worker.End    // to be read once done is closed
	done   chan struct{} // closed when the call has ended

	memory    allocation         // where items and results lie
	inBuffers bool               // the items lie in the pool's buffers
	credits   chan worker.Credit // answers to its requests for credit; nil if there is no limit
	refused   *wire.ItemError    // what its items fail with whose results it was told to drop; nil if it was not
}

// held returns the calls that the worker holds, in the order in which they were sent.
func (w *Worker) held() []*call {
	var calls []*call
	for _, b := range w.session.Held() {
		calls = append(calls, b.Receiver.(*call))
	}
	return calls
}

// HasBegun is part of [worker.Worker].
func (w *Worker) HasBegun(b worker.Batch) bool {
	for _, c := range w.held() {
		if c.b == b {
			return w.session.Progress(&c.Batch).MayRun
		}
	}
	return false
}

// Run is part of [worker.Worker]. A batch whose column is large takes several calls.
func (w *Worker) Run(ctx context.Context, b worker.Batch) worker.End {
	credit := b.Options().Credit
	for b.Done() < b.Size() {
		places, to := w.places(b)
		memory := w.allocate(b, places, to)
		n, column := places.Count(), []byte(nil)
		if n == 0 {
			var bad *wire.ItemError
			if column, n, bad = b.Encode(b.Done(), to, wire.BatchBytes, w.arena.memory(memory.items)); bad != nil {
				w.arena.free(memory)
				b.Fail(b.Done(), bad)
				b.Complete(1, worker.Info{}, 0, nil) // it never reached a worker
				continue
			}
		}
		c := w.send(ctx, b, n, column, memory, places, credit)
		w.wait(ctx, c)
		if credit > 0 { // of the whole batch, however many messages its items take; 0 would be no limit
			credit = max(1, c.Credit())
		}
		w.arena.free(memory)
		if handedBack := c.Done() < n; handedBack || c.end != (worker.End{}) {
			return c.end
		}
	}
	return worker.End{}
}

// places returns where the next items of b lie in the pool's buffers, or else the place up to which the next column may go.
func (w *Worker) places(b worker.Batch) (worker.Places, int) {
	if !w.buffers {
		return worker.Places{}, b.Size()
	}
	return b.InBuffers(b.Done(), w.options.Buffers.Find)
}

// allocate takes memory for the next items of b and their results, if the worker shares any.
func (w *Worker) allocate(b worker.Batch, places worker.Places, to int) allocation {
	switch {
	case !w.shared:
		return allocation{}
	case places.Count() > 0:
		_, results := b.EncodedSize(b.Done(), to, w.arena.size/4) // more than that there is no room for
		return w.arena.allocate(0, results)
	default:
		return w.arena.allocate(b.EncodedSize(b.Done(), to, wire.BatchBytes))
	}
}

// send sends the next n items of b that have no outcome. credit is what is left of the credit of b.
func (w *Worker) send(ctx context.Context, b worker.Batch, n int, column []byte, memory allocation, places worker.Places, credit int) *call {
	c := &call{worker: w, b: b, base: b.Done(), memory: memory, inBuffers: places.Count() > 0, done: make(chan struct{})}
	c.Receiver, c.Room, c.Copies = c, w.arena.memory(memory.room), b.Copies()
	o := b.Options()
	if credit > 0 {
		c.credits = make(chan worker.Credit, 1)
	}
	m := &workerpb.Batch{
		First: uint64(b.First() + c.base), Count: uint32(n), Format: workerpb.Format_FORMAT_PACKED, Items: column,
		ItemTimeoutNs: uint64(o.Timeout), BudgetNs: uint64(o.Budget), Timed: o.Timed,
		RoomOffset: uint64(memory.room.Offset), RoomSize: uint64(memory.room.Size),
		Credit: uint64(credit), BufferAt: places.At, BufferSize: places.Size, Metadata: o.Metadata,
		Seed: &o.Seed,
	}
	if o.JSON {
		m.Format = workerpb.Format_FORMAT_JSON
	}
	if o.SeedIndex != nil {
		m.SeedIndex = o.SeedIndex(b.First()+c.base, n)
	}
	if !o.Deadline.IsZero() {
		m.DeadlineUnixNs = uint64(max(1, o.Deadline.UnixNano()))
	}
	if at, ok := inside(w.arena.memory(memory.items), column); ok {
		m.Items, m.ItemsOffset, m.ItemsSize = nil, uint64(memory.items.Offset+at), uint64(len(column))
	}
	switch err := w.session.Send(ctx, &c.Batch, m); {
	case errors.Is(err, session.ErrClosed):
		c.end.Death = worker.Gone()
		close(c.done)
	case err != nil:
		c.end.Err = err
		close(c.done)
	}
	return c
}

// inside returns where in room a column lies, if it lies there: it may have outgrown the room.
func inside(room, column []byte) (at int, ok bool) {
	if len(room) == 0 || len(column) == 0 {
		return 0, false
	}
	at = cap(room) - cap(column)
	return at, at >= 0 && at < len(room) && &room[at] == &column[0]
}

// wait returns when a call has ended: by its last results, by the worker's death, or by ctx, which cancels it first and kills the worker if that
// does not help.
func (w *Worker) wait(ctx context.Context, c *call) {
	var look <-chan time.Time
	if limit := c.Timeout(); limit > 0 {
		t := time.NewTicker((limit + w.options.Grace) / 4)
		defer t.Stop()
		look = t.C
	}
	for {
		select {
		case <-c.done:
			return
		case <-look:
			w.watch(c)
		case credit := <-c.credits:
			w.grant(ctx, c, credit)
		case <-ctx.Done():
			w.callOff(c)
			c.end.Err = context.Cause(ctx)
			return
		}
	}
}

// callOff cancels a call and returns when it has ended. It kills the worker if that does not help.
func (w *Worker) callOff(c *call) {
	// The timer comes first: a worker that reads nothing holds up the sending too.
	stop := w.options.Pulse.AfterFunc(w.options.Grace, func() {
		w.killFor(&kill{kind: wire.Canceled, message: fmt.Sprintf("killed: its batch was canceled and went on for %v", w.options.Grace), call: c})
	})
	w.session.CancelBatch(c.ID())
	<-c.done
	stop()
}

// Info is part of [worker.Worker].
func (w *Worker) Info() worker.Info {
	return worker.Info{Number: w.number, PID: w.pid, Started: w.started, Items: int(w.items.Load())}
}

// Manifest is what the workload says of itself, checked, without its schemas.
func (w *Worker) Manifest() *workerpb.Manifest { return w.manifest }

// Failing is part of [worker.Worker].
func (w *Worker) Failing() <-chan struct{} { return w.failing }

// Gone is part of [worker.Worker].
func (w *Worker) Gone() <-chan struct{} { return w.gone }

// fail tells of the first sign of the end.
func (w *Worker) fail() { w.failOnce.Do(func() { close(w.failing) }) }

// Ended is part of [worker.Worker].
func (w *Worker) Ended() worker.Ending {
	w.mu.Lock()
	defer w.mu.Unlock()
	return worker.Ending{Reason: w.reason, Used: w.session.Sent() > 0}
}

// Stop is part of [worker.Worker].
func (w *Worker) Stop(ctx context.Context, reason string) {
	// Before anything is sent: a worker that reads nothing holds up the sending.
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		w.stopped = true
		w.mu.Unlock()
		w.killFor(&kill{kind: wire.Crashed, message: "killed: " + reason})
	})
	defer stop()
	// A pause of the host, and of the worker with it, does not count.
	defer w.options.Pulse.AfterFunc(w.options.Grace, func() {
		if w.child.Stopped() { // by a signal: it tears nothing down
			w.killFor(&kill{kind: wire.Crashed, message: "killed: " + reason + ", and a signal had stopped it"})
		}
	})()
	w.mu.Lock()
	w.recent = recent{} // what it prints from now on comes from no item
	w.mu.Unlock()
	w.session.CloseSend()
	<-w.gone
	w.reading.Wait()
}

// Kill ends a worker that nobody has used, for a reason, and returns when nothing of it is left.
func (w *Worker) Kill(reason string) {
	w.killFor(&kill{message: reason})
	w.reading.Wait()
}
