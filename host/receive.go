package host

import (
	"context"
	"time"

	"github.com/parhost/parhost/internal/session"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

var _ session.Receiver = (*call)(nil)

// receive takes what the worker says until the stream ends, and writes the obituary.
func (p *process) receive() { p.obituary(p.session.Receive(p.ignores)) }

// ignores reports whether the host skips a message because it has killed the worker. Many messages may still be in buffers then. Results that arrive after
// the kill count, unless the pool is closing.
func (p *process) ignores(r *workerpb.WorkResponse) bool {
	return p.child.Doomed() && (r.GetResults() == nil || isClosed(p.hurry))
}

// ItemFailed is part of [session.Receiver]. An error that cannot be true counts as failed, and says why.
func (c *call) ItemFailed(place int, e *wire.ItemError, doubt string) error {
	switch {
	case e.Kind == wire.Canceled && c.refused != nil:
		own := *c.refused
		e = &own
	case doubt != "":
		e = &wire.ItemError{Kind: wire.Failed, Message: wire.Bound(doubt+": "+e.Message, wire.MaxMessageText)}
	}
	c.b.fail(c.base+place, e)
	return nil
}

// Results is part of [session.Receiver].
func (c *call) Results(r *workerpb.Results, values []byte) error {
	p, from, n := c.process, c.base+c.Done(), int(r.GetCount())
	if err := c.b.unpack(from, n, values); err != nil {
		return err
	}
	now := time.Now()
	run := min(time.Duration(min(r.GetRunNs(), 1<<62)), now.Sub(c.Sent()))
	p.items.Add(int64(n))
	c.b.settle(n, p.info(), run, r.GetItemNs())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trail.add(n, c.b.first()+from+n-1, now)
	return nil
}

// Ended is part of [session.Receiver].
func (c *call) Ended(leaving bool) {
	c.process.mu.Lock()
	defer c.process.mu.Unlock()
	c.end.leaving = leaving
	c.close()
}

// close ends a call. Called with the process's mu held.
func (c *call) close() {
	c.endGrace()
	close(c.done)
}

// endGrace ends the grace of an overdue item. Called with the process's mu held.
func (c *call) endGrace() {
	if c.late != nil {
		c.late()
		c.late = nil
	}
}

// Overdue is part of [session.Receiver]. It begins the grace of an item that passed its limit.
func (c *call) Overdue(place int) {
	p := c.process
	p.mu.Lock()
	defer p.mu.Unlock()
	c.endGrace()
	c.late = p.cfg.pulse.AfterFunc(p.cfg.Grace, func() { p.tooLate(c, place) })
}

// ItemProgress is part of [session.Receiver].
func (c *call) ItemProgress(place int, fraction float64) {
	c.process.cfg.observe(ItemProgress{Worker: c.process.number, Item: c.b.first() + c.base + place, Fraction: fraction})
}

// CreditWanted is part of [session.Receiver]. The item has ended when the worker asks, so its limit of time no longer applies.
func (c *call) CreditWanted(bytes int) error {
	c.process.mu.Lock()
	c.endGrace()
	c.process.mu.Unlock()
	c.b.need(bytes, c.answers)
	return nil
}

// answer answers a worker's request for credit.
func (p *process) answer(ctx context.Context, c *call, a answer) {
	p.mu.Lock()
	c.refused, c.seen = a.refused, look{}
	p.mu.Unlock()
	_ = p.session.Grant(ctx, &c.Batch, session.Grant{Bytes: a.bytes, Stop: a.stop, Drop: a.refused != nil}) // the caller sees that ctx has ended
}
