package host

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/pulse"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// process is a worker that is a plugin process, spoken to over one stream for all its life.
type process struct {
	number     int
	cfg        *Config
	pids       int // how many processes and threads it may have, 0 for no limit of its own
	logger     hclog.Logger
	child      *child
	client     *plugin.Client
	service    workerpb.WorkerServiceClient
	manifest   *workerpb.Manifest
	threads    int
	items      atomic.Int64
	ooms       *oomWatch
	oomsBefore int64      // deaths for want of memory before it was started
	shelf      *shelf     // nil where there is no arena
	shared     bool       // the worker has mapped it
	link       *link.Link // nil where there is none
	buffers    *buffers
	looks      bool // the worker has mapped them

	stream link.Conversation
	linked *link.Client       // the same, if the worker uses the link
	cancel context.CancelFunc // of the stream
	send   turn               // a stream takes one Send at a time
	read   sync.WaitGroup     // the receiver

	mu     sync.Mutex
	calls  map[uint64]*call
	order  []*call // as sent, which is the order in which the worker begins them
	closed bool    // the pool has ended it
	lastID uint64
	fate   *fate  // why the host killed it, or what the stream ended with
	over   bool   // no call is taken any more
	last   string // the obituary, in short
	trail  trail  // the items that have just ended

	ending chan struct{} // closed at the first sign of the end
	dead   chan struct{} // closed when the obituary is written
	failed sync.Once     // closes ending
	buried sync.Once
}

var _ worker = (*process)(nil)

// call is a batch on its way, from being sent to its last results.
type call struct {
	id    uint64
	b     batch
	base  int // the place in the batch of the first item sent
	count int // items sent
	got   int // of which have an outcome
	sent  time.Time
	heard pulse.Mark // when it was last known that the worker is getting on with it
	late  func()     // ends the grace of an overdue item; nil if none is
	seen  look       // the item that the black box named when it was last looked at, since when it has
	end   ending
	done  chan struct{}

	memory  lending         // where items and results lie
	credit  int             // bytes of results that the worker may still send without asking
	granted int             // bytes more that the next results may have
	answers chan answer     // to what it asks for; nil if there is no limit
	asked   bool            // it has asked, and no results have come since
	waiting bool            // and has no answer yet
	refused *wire.ItemError // what its items fail with whose results it was told to drop; nil if it was not

	spread bool // the items lie in the pool's buffers
	taken  int  // bytes of the results' room that have been read

	canceled atomic.Bool   // the worker may have been told to cancel it
	timedOut time.Duration // that its items which were ended for their limit must have run, together
}

// begun reports whether the worker may have begun a call: it is one of the first that it holds, as many as it has threads. Called with mu held.
func (p *process) begun(c *call) bool {
	at := slices.Index(p.order, c)
	return at >= 0 && at < p.threads
}

func (p *process) hasBegun(b batch) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.IndexFunc(p.order, func(c *call) bool { return c.b == b })
	return at >= 0 && at < p.threads
}

func (p *process) run(ctx context.Context, b batch) ending {
	credit := b.orders().credit
	for b.settled() < b.size() {
		there, to := p.spread(b)
		memory := p.lend(b, there, to)
		n, column := there.count(), []byte(nil)
		if n == 0 {
			var bad *wire.ItemError
			if column, n, bad = b.pack(b.settled(), to, wire.BatchBytes, p.shelf.memory(memory.items)); bad != nil {
				p.shelf.giveBack(memory)
				b.fail(b.settled(), bad)
				b.settle(1, WorkerInfo{}, 0, nil) // it never reached one
				continue
			}
		}
		c := p.post(ctx, b, n, column, memory, there, credit)
		p.wait(ctx, c)
		if credit > 0 { // of the whole batch, however many messages its items take; 0 would be no limit
			credit = max(1, c.credit)
		}
		p.shelf.giveBack(memory)
		if handedBack := c.got < c.count; handedBack || c.end != (ending{}) {
			return c.end
		}
	}
	return ending{}
}

// spread returns where the next items of b lie in the pool's buffers, or else the place up to which the next column may go.
func (p *process) spread(b batch) (spread, int) {
	if !p.looks {
		return spread{}, b.size()
	}
	return b.spread(b.settled(), p.buffers.memory.Find)
}

// lend takes memory for the next items of b and their results, if the worker shares any.
func (p *process) lend(b batch, there spread, to int) lending {
	switch {
	case !p.shared:
		return lending{}
	case there.count() > 0:
		_, results := b.needs(b.settled(), to, p.shelf.size/4) // more than that there is no room for
		return p.shelf.lend(0, results)
	default:
		return p.shelf.lend(b.needs(b.settled(), to, wire.BatchBytes))
	}
}

// post sends the next n items of b that have no outcome. credit is what is left of the credit of b.
func (p *process) post(ctx context.Context, b batch, n int, column []byte, memory lending, there spread, credit int) *call {
	now := time.Now()
	c := &call{b: b, base: b.settled(), count: n, memory: memory, spread: there.count() > 0, sent: now, heard: p.cfg.pulse.Mark(), done: make(chan struct{})}
	o := b.orders()
	if credit > 0 {
		c.credit, c.answers = credit, make(chan answer, 1)
	}
	format := workerpb.Format_FORMAT_PACKED
	if o.json {
		format = workerpb.Format_FORMAT_JSON
	}

	// Held across both: the order of calls is the order on the stream.
	if !p.send.take(ctx) {
		c.end.err = context.Cause(ctx)
		close(c.done)
		return c
	}
	defer p.send.give()
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		c.end.lost = &loss{message: "worker is gone", guilty: -1, suspect: -1, ran: -1}
		close(c.done)
		return c
	}
	p.lastID++
	c.id = p.lastID
	p.calls[c.id] = c
	p.order = append(p.order, c)
	p.mu.Unlock()
	m := &workerpb.Batch{
		Id: c.id, First: uint64(b.first() + c.base), Count: uint32(n), Format: format, Items: column,
		ItemTimeoutNs: uint64(o.timeout), BudgetNs: uint64(o.budget), Timed: o.timed,
		RoomOffset: uint64(memory.room.Offset), RoomSize: uint64(memory.room.Size),
		Credit: uint64(credit), BufferAt: there.at, BufferSize: there.size, Metadata: o.metadata,
		Seed: &o.seed.number, SeedIndex: o.seed.indexes(b.first()+c.base, n),
	}
	if !o.deadline.IsZero() {
		m.DeadlineUnixNs = uint64(max(1, o.deadline.UnixNano()))
	}
	if at, ok := inside(p.shelf.memory(memory.items), column); ok {
		m.Items, m.ItemsOffset, m.ItemsSize = nil, uint64(memory.items.Offset+at), uint64(len(column))
	}
	p.dispatch(ctx, c, &workerpb.WorkRequest{Message: &workerpb.WorkRequest_Batch{Batch: m}})
	return c
}

// dispatch sends a batch, and sees to it that a worker which does not read holds nobody up for ever. gRPC takes a message whatever the worker
// does, unless one that lies before it has used up what may wait to be sent; that may be one which the worker has answered without reading it.
// The link says itself when there is no room. An error means that the stream has ended; the receiver learns why and settles the call.
func (p *process) dispatch(ctx context.Context, c *call, m *workerpb.WorkRequest) {
	if p.linked != nil {
		_ = p.linked.SendOr(m, func() func() { return p.watchSend(ctx, c) })
		return
	}
	defer p.watchSend(ctx, c)()
	_ = p.stream.Send(m)
}

// inside returns where in room a column lies, if it lies there: it may have outgrown it.
func inside(room, column []byte) (at int, ok bool) {
	if len(room) == 0 || len(column) == 0 {
		return 0, false
	}
	at = cap(room) - cap(column)
	return at, at >= 0 && at < len(room) && &room[at] == &column[0]
}

// sendLimit is how long a worker may take to read a message. The SDK reads while it works, so this is far more than it needs.
const sendLimit = 30 * time.Second

// watchSend kills the worker if it does not read what is sent: after sendLimit, or within the grace of an ended ctx. The returned
// function ends the watch.
func (p *process) watchSend(ctx context.Context, c *call) (stop func()) {
	stuck := func() {
		p.kill(&fate{kind: wire.Crashed, cause: CauseProtocol, message: "worker does not read what it is sent", call: c, guilty: -1})
	}
	limit := sendLimit
	if silence := p.silenceLimit(c); silence > 0 {
		limit = min(limit, silence)
	}
	sent := make(chan struct{})
	unwatch := p.cfg.pulse.AfterFunc(limit, stuck)
	grace := context.AfterFunc(ctx, func() {
		select {
		case <-sent:
		case <-p.cfg.pulse.After(p.cfg.Grace):
			stuck()
		}
	})
	return func() {
		close(sent)
		grace()
		unwatch()
	}
}

// wait returns when the call has ended: by its last results, by the worker's death, or by ctx, which cancels it first and
// kills the worker if that does not help.
func (p *process) wait(ctx context.Context, c *call) {
	var silence <-chan time.Time
	if limit := c.b.orders().timeout; limit > 0 {
		t := time.NewTicker((limit + p.cfg.Grace) / 4)
		defer t.Stop()
		silence = t.C
	}
	for {
		select {
		case <-c.done:
			return
		case <-silence:
			p.listen(c)
		case a := <-c.answers:
			p.answer(ctx, c, a)
		case <-ctx.Done():
			p.callOff(c)
			c.end.err = context.Cause(ctx)
			return
		}
	}
}

// callOff cancels a call and returns when it has ended. It kills the worker if that does not help.
func (p *process) callOff(c *call) {
	// The timer comes first: a worker that reads nothing holds up the sending too.
	stop := p.cfg.pulse.AfterFunc(p.cfg.Grace, func() {
		p.kill(&fate{kind: wire.Canceled, message: fmt.Sprintf("killed: its batch was canceled and went on for %v", p.cfg.Grace), call: c, guilty: -1})
	})
	c.canceled.Store(true) // before the worker can know
	p.cancelCall(c)
	<-c.done
	stop()
}

// silenceLimit is how long a worker that keeps to its orders can be without a word about a batch that it runs.
func (p *process) silenceLimit(c *call) time.Duration {
	if t := c.b.orders().timeout; t > 0 {
		return t + 2*p.cfg.Grace + time.Second
	}
	return 0
}

// listen kills the worker if an item of c does not end though its time is over, or if the worker runs c and has been silent for too
// long: whatever hangs there, it is not our watch on items.
func (p *process) listen(c *call) {
	p.mu.Lock()
	if c.waiting { // for the host
		p.mu.Unlock()
		return
	}
	begun := p.begun(c)
	followed := len(p.order) > 1
	silent := p.cfg.pulse.Since(c.heard)
	item, stuck, hung := 0, false, false
	if begun && !p.over {
		item, stuck = p.stuck(c)
		hung = stuck && c.late == nil && len(p.blackBox()) > 1
	}
	p.mu.Unlock()
	switch {
	case hung:
		p.hung()
		return
	case stuck:
		p.tooLate(c, item)
		return
	}
	if begun && silent > p.silenceLimit(c) {
		f := &fate{kind: wire.Timeout, cause: CauseTimeout, message: fmt.Sprintf("worker has been silent for %v", silent.Round(time.Millisecond)), guilty: -1}
		if !followed { // else c may be over, and its results lost on their way, and it is the next one that hangs
			f.call = c
		}
		p.kill(f)
	}
}

func (p *process) cancelCall(c *call) {
	p.send.take(context.Background()) // whoever has it is watched
	defer p.send.give()
	_ = p.stream.Send(&workerpb.WorkRequest{Message: &workerpb.WorkRequest_Cancel{Cancel: &workerpb.Cancel{Batch: c.id}}})
}

// turn is a lock that one can stop waiting for. Make it with room for one.
type turn chan struct{}

// take waits for the turn, and reports whether it came before ctx ended.
func (t turn) take(ctx context.Context) bool {
	select {
	case t <- struct{}{}:
		return true
	default:
	}
	select {
	case t <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t turn) give() { <-t }

func (p *process) info() WorkerInfo {
	return WorkerInfo{Worker: p.number, PID: p.child.pid(), Mode: Process, Started: p.child.started, Items: int(p.items.Load())}
}

func (p *process) failing() <-chan struct{} { return p.ending }
func (p *process) gone() <-chan struct{}    { return p.dead }

// fail tells of the first sign of the end.
func (p *process) fail() { p.failed.Do(func() { close(p.ending) }) }

func (p *process) obit() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

func (p *process) end(ctx context.Context, reason string) {
	// Before anything is sent: a worker that reads nothing holds up the sending.
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.kill(&fate{kind: wire.Crashed, message: "killed: " + reason, guilty: -1})
	})
	defer stop()
	// A pause of the host, and of the worker with it, does not count.
	defer p.cfg.pulse.AfterFunc(p.cfg.Grace, func() {
		if p.child.stopped() { // by a signal: it tears nothing down
			p.kill(&fate{kind: wire.Crashed, message: "killed: " + reason + ", and a signal had stopped it", guilty: -1})
		}
	})()
	p.mu.Lock()
	p.trail = trail{} // what it says from now on is of no item
	p.mu.Unlock()
	p.send.take(context.Background())
	_ = p.stream.CloseSend()
	p.send.give()
	<-p.dead
	p.read.Wait()
}

func (p *process) verdict() (tried bool, hopeless error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastID > 0, nil
}
