package process

import (
	"context"
	"math"
	"runtime"
	"time"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/session"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/protocol"
)

var _ session.Receiver = (*call)(nil)

// receive handles the worker's messages until the stream ends, and then judges why it ended.
func (w *Worker) receive() { w.die(w.session.Receive(w.ignores)) }

// ignores reports whether the host skips a message because it has killed the worker. Many messages may still be in buffers then. Results that arrive after
// the kill count, unless the pool is closing.
func (w *Worker) ignores(r *workerpb.WorkResponse) bool {
	return w.child.Doomed() && (r.GetResults() == nil || isClosed(w.options.Child.Hurry))
}

// ItemFailed implements [session.Receiver]. An error whose kind cannot be true counts as failed, and its message says why.
func (c *call) ItemFailed(place int, e *protocol.ItemError, doubt string) error {
	c.worker.mu.Lock()
	overused := c.overused[place]
	c.worker.mu.Unlock()
	switch {
	case overused != nil:
		e = overused
	case e.Kind == protocol.KindCanceled && c.refused != nil:
		own := *c.refused
		e = &own
	case doubt != "":
		e = &protocol.ItemError{Kind: protocol.KindFailed, Message: bound.Text(doubt+": "+e.Message, wire.MaxMessageText)}
	}
	c.b.Fail(c.base+place, e)
	return nil
}

// Results implements [session.Receiver].
func (c *call) Results(r *workerpb.Results, values []byte) error {
	w, from, n := c.worker, c.base+c.Done(), int(r.GetCount())
	if err := c.b.Decode(from, n, values); err != nil {
		return err
	}
	now := time.Now()
	run := min(time.Duration(min(r.GetRunNs(), 1<<62)), now.Sub(c.Sent()))
	if n > 0 {
		w.batchTime.Store(max(1, int64(run)))
		w.polls.Store(0)
	}
	w.items.Add(int64(n))
	w.traffic.messages.Add(int64(len(r.GetValues())))
	w.traffic.arena.Add(int64(len(values) - len(r.GetValues())))
	c.b.Complete(n, w.Info(), run, r.GetItemNs(), usageOf(r, now.Sub(c.Sent())))
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		w.recent.add(n, c.b.First()+from+n-1, now)
	}
	return nil
}

// usageOf returns what the items of a message used, within what is possible: a worker may say anything. trip is how long ago their batch was sent.
func usageOf(r *workerpb.Results, trip time.Duration) []protocol.Usage {
	if len(r.GetItemUsage()) == 0 {
		return nil
	}
	usage := make([]protocol.Usage, len(r.GetItemUsage()))
	most := uint64(max(0, trip)) * uint64(runtime.NumCPU())
	for i, u := range r.GetItemUsage() {
		usage[i] = protocol.Usage{
			User: time.Duration(min(u.GetUserNs(), most)), System: time.Duration(min(u.GetSystemNs(), most)), MaxRSS: int64(min(r.GetMaxRssBytes(), maxRSS)),
			Voluntary: int(min(u.GetVoluntarySwitches(), math.MaxInt32)), Forced: int(min(u.GetForcedSwitches(), math.MaxInt32)),
		}
	}
	return usage
}

// maxRSS is more memory than a process can have.
const maxRSS = 1 << 52

// Ended implements [session.Receiver].
func (c *call) Ended(leaving bool) {
	c.worker.mu.Lock()
	defer c.worker.mu.Unlock()
	c.end.Leaving = leaving
	c.close()
}

// close marks a call as ended. It is called with the worker's mu held.
func (c *call) close() {
	c.endGrace()
	close(c.done)
}

// endGrace stops the timer that would kill the worker for an overdue item. It is called with the worker's mu held.
func (c *call) endGrace() {
	if c.late != nil {
		c.late()
		c.late = nil
	}
}

// Overdue implements [session.Receiver]. It starts the grace period of an item that exceeded its limit.
func (c *call) Overdue(place int) {
	w := c.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	c.endGrace()
	c.late = w.options.Pulse.AfterFunc(w.options.Grace, func() { w.killOverdue(c, place) })
}

// ItemProgress implements [session.Receiver].
func (c *call) ItemProgress(place int, fraction float64) {
	c.worker.options.Progress(c.worker.number, worker.PlaceOf(c.b, c.base+place), fraction)
}

// CreditWanted implements [session.Receiver]. The item has ended when the worker asks, so its time limit no longer applies.
func (c *call) CreditWanted(bytes int) error {
	c.worker.mu.Lock()
	c.endGrace()
	c.worker.mu.Unlock()
	c.b.RequestCredit(bytes, c.credits)
	return nil
}

// grant sends the worker the answer to its request for credit.
func (w *Worker) grant(ctx context.Context, c *call, credit worker.Credit) {
	w.mu.Lock()
	c.refused, c.seen = credit.Refused, seenItem{}
	w.mu.Unlock()
	g := session.Grant{Bytes: credit.Bytes, Stop: credit.Stop, Drop: credit.Refused != nil}
	_ = w.session.Grant(ctx, &c.Batch, g) // the caller sees that ctx has ended
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
