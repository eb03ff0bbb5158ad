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
	"github.com/parhost/parhost/protocol"
)

// Worker is a plugin process that runs batches. The host talks to it over one stream for its whole life.
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
	items    atomic.Int64 // items run so far
	traffic  traffic

	batches   atomic.Int64 // batches that the worker holds
	batchTime atomic.Int64 // time of the latest results in the workload, in nanoseconds, as the worker reports it: at least 1, or 0 if there are no results yet
	polls     atomic.Int64 // how often the host has polled since that message

	cancel  context.CancelFunc // breaks the stream
	session *session.Session   // set with mu held; nil before the set-up
	reading sync.WaitGroup     // waits for the receiver goroutine

	mu      sync.Mutex
	kill    *kill          // why the host killed the worker, or the error with which the stream ended; nil if neither has happened
	over    bool           // the shared memory may be unmapped
	stopped bool           // the pool has ended the worker
	reason  string         // how the worker ended, in short
	cause   protocol.Cause // why it died; empty if it did not
	recent  recent         // items that have just ended

	failing  chan struct{} // closed at the first sign of the end
	gone     chan struct{} // closed when the end has been judged
	failOnce sync.Once
	buryOnce sync.Once
}

var _ worker.Worker = (*Worker)(nil)

// traffic counts the bytes of items and results by the path that they take.
type traffic struct{ messages, arena, buffers atomic.Int64 }

func (t *traffic) read() worker.Traffic {
	return worker.Traffic{Messages: t.messages.Load(), Arena: t.arena.Load(), Buffers: t.buffers.Load()}
}

// call is the part of a batch that goes to the worker in one message. It lasts from sending the items to their last results.
type call struct {
	session.Batch
	worker *Worker
	b      worker.Batch
	base   int           // place in the batch of the first item sent
	late   func()        // stops the grace timer of an overdue item; nil if none is overdue; guarded by the worker's mu
	seen   seenItem      // item that the black box named at the last look, and since when; guarded by the worker's mu
	end    worker.End    // may be read once done is closed
	done   chan struct{} // closed when the call has ended

	spent    spent                       // CPU time of the worker when its running item was first seen; guarded by the worker's mu
	overused map[int]*protocol.ItemError // errors of items that have used too much CPU time, by place in the call; guarded by the worker's mu

	memory    allocation          // memory of items and results in the arena
	inBuffers bool                // the items lie in the pool's buffers
	credits   chan worker.Credit  // answers to the call's requests for credit; nil if there is no limit
	refused   *protocol.ItemError // error of the items whose results the worker was told to drop; nil if there are none
}

// held returns the calls that the worker holds, in the order in which they were sent.
func (w *Worker) held() []*call {
	var calls []*call
	for _, b := range w.session.Held() {
		calls = append(calls, b.Receiver.(*call))
	}
	return calls
}

// HasBegun implements [worker.Worker].
func (w *Worker) HasBegun(b worker.Batch) bool {
	for _, c := range w.held() {
		if c.b == b {
			return w.session.Progress(&c.Batch).MayRun
		}
	}
	return false
}

// Recall implements [worker.Worker].
func (w *Worker) Recall() { w.session.Recall() }

const (
	// shortBatch is about as much CPU time as the host and a worker need to sleep and to be woken for one answer.
	shortBatch = 20 * time.Microsecond
	// fewBatches are so few that the worker may have to wait for the next one. With more, nobody waits while an end sleeps, and it wakes to many messages at once.
	fewBatches = 2
	// maxPolls bounds how often the host polls for one message of results. Other messages cost a worker nothing, and would keep the host polling.
	maxPolls = 16
)

// answersSoon reports whether the worker's batches are short and few, so that it pays to poll for messages.
func (w *Worker) answersSoon() bool {
	took := time.Duration(w.batchTime.Load())
	return 0 < took && took <= shortBatch && w.batches.Load() <= fewBatches
}

// mayPoll reports whether the host polls for the worker's next message.
func (w *Worker) mayPoll() bool { return w.answersSoon() && w.polls.Add(1) <= maxPolls }

// Run implements [worker.Worker]. A batch whose column is large takes several calls.
func (w *Worker) Run(ctx context.Context, b worker.Batch) worker.End {
	w.batches.Add(1)
	defer w.batches.Add(-1)
	credit := b.Options().Credit
	for b.Done() < b.Size() {
		places, to := w.places(b)
		memory := w.allocate(b, places, to)
		n, column := places.Count(), []byte(nil)
		if n == 0 {
			var bad *protocol.ItemError
			if column, n, bad = b.Encode(b.Done(), to, wire.BatchBytes, w.arena.memory(memory.items)); bad != nil {
				w.arena.free(memory)
				b.Fail(b.Done(), bad)
				b.Complete(1, worker.Info{}, 0, nil, nil) // the item never reached a worker
				continue
			}
		}
		c := w.send(ctx, b, n, column, memory, places, credit)
		w.wait(ctx, c)
		if credit > 0 { // the credit is for the whole batch, in however many messages its items go; 0 would mean no limit
			credit = max(1, c.Credit())
		}
		w.arena.free(memory)
		if handedBack := c.Done() < n; handedBack || c.end != (worker.End{}) {
			return c.end
		}
	}
	return worker.End{}
}

// places returns the places of the next items of b in the pool's buffers. If they do not lie there, it returns the place up to which the next column may go.
func (w *Worker) places(b worker.Batch) (worker.Places, int) {
	if !w.buffers {
		return worker.Places{}, b.Size()
	}
	return b.InBuffers(b.Done(), w.options.Buffers.Find)
}

// allocate takes memory for the next items of b and their results, if the worker shares memory.
func (w *Worker) allocate(b worker.Batch, places worker.Places, to int) allocation {
	switch {
	case !w.shared:
		return allocation{}
	case places.Count() > 0:
		_, results := b.EncodedSize(b.Done(), to, w.arena.size/4) // the arena has no room for more
		return w.arena.allocate(0, results)
	default:
		return w.arena.allocate(b.EncodedSize(b.Done(), to, wire.BatchBytes))
	}
}

// send sends the next n items of b that have no outcome. credit is the rest of b's credit.
func (w *Worker) send(ctx context.Context, b worker.Batch, n int, column []byte, memory allocation, places worker.Places, credit int) *call {
	c := &call{worker: w, b: b, base: b.Done(), memory: memory, inBuffers: places.Count() > 0, done: make(chan struct{})}
	c.Receiver, c.Room, c.Copies = c, w.arena.memory(memory.room), b.Copies()
	o := b.Options()
	if credit > 0 {
		c.credits = make(chan worker.Credit, 1)
	}
	m := &workerpb.Batch{
		First: uint64(b.First() + c.base), Count: uint32(n), Format: workerpb.Format_FORMAT_PACKED, Items: column,
		ItemTimeoutNs: uint64(o.Timeout), BudgetNs: uint64(o.Budget), Timed: o.Timed, Usage: o.Usage, Alone: o.CPU > 0,
		RoomOffset: uint64(memory.room.Offset), RoomSize: uint64(memory.room.Size),
		Credit: uint64(credit), BufferAt: places.At, BufferSize: places.Size, Metadata: o.Metadata,
		Seed: &o.Seed,
	}
	if o.JSON {
		m.Format = workerpb.Format_FORMAT_JSON
	}
	if o.SeedIndex != nil {
		m.SeedIndex = o.SeedIndex[c.base:][:n]
	}
	if !o.Deadline.IsZero() {
		m.DeadlineUnixNs = uint64(max(1, o.Deadline.UnixNano()))
	}
	if at, ok := inside(w.arena.memory(memory.items), column); ok {
		m.Items, m.ItemsOffset, m.ItemsSize = nil, uint64(memory.items.Offset+at), uint64(len(column))
	}
	w.traffic.messages.Add(int64(len(m.Items)))
	w.traffic.arena.Add(int64(m.ItemsSize))
	w.traffic.buffers.Add(places.Bytes())
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

// inside returns the position of a column in room. ok is false if the column lies elsewhere, because it has outgrown the room.
func inside(room, column []byte) (at int, ok bool) {
	if len(room) == 0 || len(column) == 0 {
		return 0, false
	}
	at = cap(room) - cap(column)
	return at, at >= 0 && at < len(room) && &room[at] == &column[0]
}

// wait returns when a call has ended: by its last results, by the worker's death, or because ctx ended. If ctx ends, wait cancels the call, and kills the
// worker if that does not help.
func (w *Worker) wait(ctx context.Context, c *call) {
	var look <-chan time.Time
	if limit := c.Timeout(); limit > 0 {
		t := time.NewTicker((limit + w.options.Grace) / 4)
		defer t.Stop()
		look = t.C
	}
	var lookCPU <-chan time.Time
	if limit := c.b.Options().CPU; limit > 0 {
		t := time.NewTicker(max(leastLook, limit/8))
		defer t.Stop()
		lookCPU = t.C
	}
	for {
		select {
		case <-c.done:
			return
		case <-look:
			w.watch(c)
		case <-lookCPU:
			w.watchCPU(c)
		case credit := <-c.credits:
			w.grant(ctx, c, credit)
		case <-ctx.Done():
			w.callOff(c)
			c.end.Err = context.Cause(ctx)
			return
		}
	}
}

// callOff cancels a call and returns when it has ended. It kills the worker if the call does not end within the grace period.
func (w *Worker) callOff(c *call) {
	// The timer starts first, because a worker that reads nothing also blocks the sending.
	stop := w.options.Pulse.AfterFunc(w.options.Grace, func() {
		w.killFor(&kill{kind: protocol.KindCanceled, message: fmt.Sprintf("killed: its batch was canceled and went on for %v", w.options.Grace), call: c})
	})
	w.session.CancelBatch(c.ID())
	<-c.done
	stop()
}

// Info implements [worker.Worker].
func (w *Worker) Info() worker.Info {
	return worker.Info{Number: w.number, PID: w.pid, Started: w.started, Threads: w.session.Threads(), Items: int(w.items.Load()), Traffic: w.traffic.read()}
}

// Manifest returns the workload's manifest, checked, without its schemas.
func (w *Worker) Manifest() *workerpb.Manifest { return w.manifest }

// Failing implements [worker.Worker].
func (w *Worker) Failing() <-chan struct{} { return w.failing }

// Gone implements [worker.Worker].
func (w *Worker) Gone() <-chan struct{} { return w.gone }

// fail closes failing, at the first sign of the worker's end.
func (w *Worker) fail() { w.failOnce.Do(func() { close(w.failing) }) }

// Ended implements [worker.Worker].
func (w *Worker) Ended() worker.Ending {
	w.mu.Lock()
	defer w.mu.Unlock()
	return worker.Ending{Reason: w.reason, Cause: w.cause, Used: w.session.Sent() > 0}
}

// Stop implements [worker.Worker].
func (w *Worker) Stop(ctx context.Context, reason string) {
	// The watch on ctx starts before anything is sent, because a worker that reads nothing blocks the sending.
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		w.stopped = true
		w.mu.Unlock()
		w.killFor(&kill{kind: protocol.KindCrashed, message: "killed: " + reason})
	})
	defer stop()
	// The pulse leaves out pauses of the host, in which the worker paused as well.
	defer w.options.Pulse.AfterFunc(w.options.Grace, func() {
		if w.child.Stopped() { // a signal has stopped the worker, so it tears nothing down
			w.killFor(&kill{kind: protocol.KindCrashed, message: "killed: " + reason + ", and a signal had stopped it"})
		}
	})()
	w.mu.Lock()
	w.recent = recent{} // what the worker prints from now on comes from no item
	w.mu.Unlock()
	w.session.CloseSend()
	<-w.gone
	w.reading.Wait()
}

// Kill ends a worker that has not been used, for the given reason. It returns when nothing of the worker is left.
func (w *Worker) Kill(reason string) {
	w.killFor(&kill{message: reason})
	w.reading.Wait()
}
