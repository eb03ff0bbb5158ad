package host

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
	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/session"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// process is a worker that is a plugin process, spoken to over one stream for all its life.
type process struct {
	pid      int
	started  time.Time
	number   int
	cfg      *Config
	hurry    <-chan struct{} // closed when the pool is to end at once
	logger   hclog.Logger
	child    *child.Process
	client   *plugin.Client
	service  workerpb.WorkerServiceClient
	manifest *workerpb.Manifest
	threads  int
	items    atomic.Int64
	shelf    *shelf     // nil where there is no arena
	shared   bool       // the worker has mapped it
	link     *link.Link // nil where there is none
	buffers  *buffers
	looks    bool // the worker has mapped them

	cancel context.CancelFunc // of the stream
	read   sync.WaitGroup     // the receiver

	mu      sync.Mutex
	session *session.Session // nil before the set-up
	closed  bool             // the pool has ended it
	fate    *fate            // why the host killed it, or what the stream ended with
	over    bool             // the memory that it shares may be gone
	last    string           // the obituary, in short
	trail   trail            // the items that have just ended

	ending chan struct{} // closed at the first sign of the end
	dead   chan struct{} // closed when the obituary is written
	failed sync.Once     // closes ending
	buried sync.Once
}

var _ worker = (*process)(nil)

// call is a batch on its way, from being sent to its last results.
type call struct {
	session.Batch
	process *process
	b       batch
	base    int           // the place in the batch of the first item sent
	late    func()        // ends the grace of an overdue item; nil if none is; guarded by the process's mu
	seen    look          // the item that the black box named when it was last looked at, since when it has; guarded likewise
	end     ending        // to be read once done is closed
	done    chan struct{} // closed when the call has ended

	memory  lending         // where items and results lie
	spread  bool            // the items lie in the pool's buffers
	answers chan answer     // to its requests for credit; nil if there is no limit
	refused *wire.ItemError // what its items fail with whose results it was told to drop; nil if it was not
}

// held returns the calls that the worker holds, in the order in which they were sent.
func (p *process) held() []*call {
	var calls []*call
	for _, b := range p.session.Held() {
		calls = append(calls, b.Receiver.(*call))
	}
	return calls
}

func (p *process) hasBegun(b batch) bool {
	for _, c := range p.held() {
		if c.b == b {
			return p.session.Progress(&c.Batch).MayRun
		}
	}
	return false
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
			credit = max(1, c.Credit())
		}
		p.shelf.giveBack(memory)
		if handedBack := c.Done() < n; handedBack || c.end != (ending{}) {
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
	c := &call{process: p, b: b, base: b.settled(), memory: memory, spread: there.count() > 0, done: make(chan struct{})}
	c.Receiver, c.Room, c.Copies = c, p.shelf.memory(memory.room), b.copies()
	o := b.orders()
	if credit > 0 {
		c.answers = make(chan answer, 1)
	}
	format := workerpb.Format_FORMAT_PACKED
	if o.json {
		format = workerpb.Format_FORMAT_JSON
	}
	m := &workerpb.Batch{
		First: uint64(b.first() + c.base), Count: uint32(n), Format: format, Items: column,
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
	switch err := p.session.Send(ctx, &c.Batch, m); {
	case errors.Is(err, session.ErrClosed):
		c.end.lost = &loss{message: "worker is gone", guilty: -1, suspect: -1, ran: -1}
		close(c.done)
	case err != nil:
		c.end.err = err
		close(c.done)
	}
	return c
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
	p.session.CancelBatch(c.ID())
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
	at := p.session.Progress(&c.Batch)
	if at.Waiting { // for the host
		return
	}
	item, stuck, hung := 0, false, false
	p.mu.Lock()
	if at.MayRun && !p.over {
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
	if at.MayRun && at.Silent > p.silenceLimit(c) {
		f := &fate{kind: wire.Timeout, cause: CauseTimeout, message: fmt.Sprintf("worker has been silent for %v", at.Silent.Round(time.Millisecond)), guilty: -1}
		if !at.Others { // else c may be over, and its results lost on their way, and it is the next one that hangs
			f.call = c
		}
		p.kill(f)
	}
}

func (p *process) info() WorkerInfo {
	return WorkerInfo{Worker: p.number, PID: p.pid, Mode: Process, Started: p.started, Items: int(p.items.Load())}
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
		if p.child.Stopped() { // by a signal: it tears nothing down
			p.kill(&fate{kind: wire.Crashed, message: "killed: " + reason + ", and a signal had stopped it", guilty: -1})
		}
	})()
	p.mu.Lock()
	p.trail = trail{} // what it says from now on is of no item
	p.mu.Unlock()
	p.session.CloseSend()
	<-p.dead
	p.read.Wait()
}

func (p *process) verdict() (tried bool, hopeless error) { return p.session.Sent() > 0, nil }

// flood ends a worker that writes without end.
func (p *process) flood() {
	p.decide(&fate{kind: wire.Crashed, cause: CauseFlood, guilty: -1, message: fmt.Sprintf(
		"worker flooded its output: more than %d bytes (Config.MaxOutputBytes) beyond %d a second", p.cfg.MaxOutputBytes, child.QuietRate)})
	p.child.KillNow() // its stream ends with it
}
