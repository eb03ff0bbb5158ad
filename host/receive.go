package host

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// receive takes what the worker says until the stream ends, and writes the obituary.
func (p *process) receive() {
	for {
		r, err := p.stream.Recv()
		switch {
		case err == nil && p.ignores(r):
		case err == nil:
			err = p.hear(r)
		case errors.Is(err, link.ErrFrame), errors.Is(err, link.ErrRefused), errors.Is(err, link.ErrTooLarge):
			err = &lieError{err.Error()}
		}
		if err != nil {
			p.obituary(err)
			return
		}
	}
}

// ignores reports whether the host skips a message because it has killed the worker. Many messages may still be in buffers then. Results that arrive after
// the kill count, unless the pool is closing.
func (p *process) ignores(r *workerpb.WorkResponse) bool {
	return p.child.doomed.Load() && (r.GetResults() == nil || isClosed(p.child.hurry))
}

// lieError is what a worker says against the protocol.
type lieError struct{ problem string }

func (e *lieError) Error() string { return "worker broke the protocol: " + e.problem }

func (p *process) hear(r *workerpb.WorkResponse) error {
	switch m := r.GetMessage().(type) {
	case *workerpb.WorkResponse_Results:
		return p.results(m.Results)
	case *workerpb.WorkResponse_Progress:
		if c := p.running(m.Progress.GetBatch(), m.Progress.GetItem()); c != nil && m.Progress.GetFraction() >= 0 && m.Progress.GetFraction() <= 1 {
			p.cfg.observe(ItemProgress{Worker: p.number, Item: c.b.first() + c.base + int(m.Progress.GetItem()), Fraction: m.Progress.GetFraction()})
		}
		return nil
	case *workerpb.WorkResponse_Overdue:
		return p.overdue(m.Overdue)
	case *workerpb.WorkResponse_Need:
		return p.need(m.Need)
	default:
		return &lieError{fmt.Sprintf("a message of kind %T", m)}
	}
}

func (p *process) find(id uint64) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[id]
}

// results settles what a worker says it has done, once it is checked to be what it was given.
func (p *process) results(r *workerpb.Results) error {
	c := p.find(r.GetBatch())
	if c == nil && r.GetCount() == 0 && r.GetLast() {
		return nil // an end after the end
	}
	if c == nil {
		return &lieError{fmt.Sprintf("results for batch %d, which it does not hold", r.GetBatch())}
	}
	// What a worker says is compared before it becomes an int, which has 32 bits on some machines.
	if r.GetFrom() != uint32(c.got) || r.GetCount() > uint32(c.count-c.got) {
		return &lieError{fmt.Sprintf("results for items %d to %d of a batch of %d whose next is %d",
			r.GetFrom(), int64(r.GetFrom())+int64(r.GetCount())-1, c.count, c.got)}
	}
	from, n := c.got, int(r.GetCount())
	if n == 0 && !r.GetLast() || c.got+n == 0 && !r.GetLeaving() {
		return &lieError{"results for no item"} // it could go on so for ever
	}
	if t := len(r.GetItemNs()); t != 0 && t != n {
		return &lieError{fmt.Sprintf("%d times for %d items", t, n)}
	}
	if problem := p.charge(c, r); problem != "" {
		return &lieError{problem}
	}
	for i, e := range r.GetErrors() {
		at := e.GetItem()
		if at < uint32(from) || at >= uint32(from+n) || i > 0 && at <= r.GetErrors()[i-1].GetItem() {
			return &lieError{fmt.Sprintf("an error for item %d among the results for items %d to %d", at, from, from+n-1)}
		}
		c.b.fail(c.base+int(at), p.believed(c, wire.FromProto(e)))
	}
	values, err := p.values(c, r)
	if err != nil {
		return err
	}
	if err := c.b.unpack(c.base+from, n, values); err != nil {
		return &lieError{err.Error()}
	}
	now := time.Now()
	run := min(time.Duration(min(r.GetRunNs(), 1<<62)), now.Sub(c.sent))
	p.items.Add(int64(n))
	c.b.settle(n, p.info(), run, r.GetItemNs())
	p.mu.Lock()
	defer p.mu.Unlock()
	c.got += n
	c.heard = p.cfg.pulse.Mark()
	p.trail.add(n, c.b.first()+c.base+c.got-1, now)
	if !r.GetLast() && c.got < c.count {
		return nil
	}
	c.end.leaving = r.GetLeaving()
	p.finish(c)
	return nil
}

// running returns the call whose item may be running at a place, nil if there is none.
func (p *process) running(id uint64, item uint32) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.calls[id]; c != nil && p.begun(c) && item >= uint32(c.got) && item < uint32(c.count) {
		return c
	}
	return nil
}

// believed returns an error that the worker sent for an item of c. One of a kind that cannot be true counts as failed, and says why.
func (p *process) believed(c *call, e *wire.ItemError) *wire.ItemError {
	if e.Kind == wire.Canceled && c.refused != nil {
		own := *c.refused
		return &own
	}
	limit := c.b.orders().timeout
	doubt := e.Doubt(wire.Known{
		Canceled: c.canceled.Load(), Limit: limit, Ran: time.Since(c.sent) - c.timedOut, MaxResult: uint64(p.cfg.MaxResultBytes),
	})
	switch {
	case doubt != "":
		return &wire.ItemError{Kind: wire.Failed, Message: wire.Bound(doubt+": "+e.Message, wire.MaxMessageText)}
	case e.Kind == wire.Timeout: // the items of a batch run one after the other
		c.timedOut += max(0, limit-wire.ClockSlack)
	}
	return e
}

// values returns the column of results that a worker speaks of. What lies in the arena is copied out before anybody looks at it,
// because the worker may change it at any time; unpack copies a column of a fixed kind itself, and any bytes are numbers.
func (p *process) values(c *call, r *workerpb.Results) ([]byte, error) {
	at, used := r.GetRoomAt(), r.GetRoomUsed()
	room := p.shelf.memory(c.memory.room)
	switch size := uint64(len(room)); {
	case used == 0:
		return r.GetValues(), nil
	case at < uint64(c.taken) || at > size || used > size-at:
		return nil, &lieError{fmt.Sprintf("results of %d bytes at %d of a room of %d, of which %d have been read", used, at, size, c.taken)}
	}
	c.taken = int(at + used)
	column := room[at : at+used : at+used]
	if c.b.copies() {
		return column, nil
	}
	return bytes.Clone(column), nil
}

// finish takes a call out of the books. Called with mu held.
func (p *process) finish(c *call) {
	delete(p.calls, c.id)
	p.order = slices.DeleteFunc(p.order, func(o *call) bool { return o == c })
	if p.threads <= len(p.order) {
		p.order[p.threads-1].heard = p.cfg.pulse.Mark() // its turn begins
	}
	if c.late != nil {
		c.late()
	}
	close(c.done)
}

// overdue begins the grace of an item that passed its limit. The host kills the worker of an item that does not end then, so it believes this
// only of a batch that may have been begun, and no sooner than its limit can have passed.
func (p *process) overdue(o *workerpb.Overdue) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.calls[o.GetBatch()]
	if c == nil || o.GetItem() < uint32(c.got) || o.GetItem() >= uint32(c.count) {
		return nil // settled in the meantime
	}
	limit, passed := c.b.orders().timeout, time.Since(c.sent)
	switch {
	case limit == 0:
		return &lieError{"an item is overdue, and has no time limit"}
	case !p.begun(c):
		return &lieError{fmt.Sprintf("item %d of a batch is overdue that waits for its turn", o.GetItem())}
	case passed+wire.ClockSlack < limit:
		return &lieError{fmt.Sprintf("an item is overdue %v after it was sent, and its time limit is %v", passed.Round(time.Millisecond), limit)}
	}
	item := int(o.GetItem())
	if c.late != nil {
		c.late()
	}
	c.late = p.cfg.pulse.AfterFunc(p.cfg.Grace, func() { p.tooLate(c, item) })
	return nil
}
