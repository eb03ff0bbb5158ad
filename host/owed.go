package host

import (
	"context"
	"fmt"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// need passes on that a worker asks for credit for the next results of a batch. While it waits its item has ended, so no limit of time
// is looked at; that it may ask only once before it sends results keeps it from gaining time so.
func (p *process) need(n *workerpb.Need) error {
	p.mu.Lock()
	c := p.calls[n.GetBatch()]
	problem := ""
	switch most := p.cfg.messageBytes(); {
	case c == nil, c.canceled.Load(): // settled or cancelled in the meantime
		p.mu.Unlock()
		return nil
	case c.answers == nil:
		problem = "it asks for credit for a batch that has no limit"
	case c.asked:
		problem = "it asks for credit again, and has sent no results since"
	case n.GetBytes() == 0 || n.GetBytes() > uint64(most):
		problem = fmt.Sprintf("it asks for a credit of %d bytes, the limit is %d", n.GetBytes(), most)
	default:
		c.asked, c.waiting = true, true
		if c.late != nil {
			c.late()
			c.late = nil
		}
	}
	p.mu.Unlock()
	if problem != "" {
		return &lieError{problem}
	}
	c.b.need(int(n.GetBytes()), c.answers)
	return nil
}

// answer sends a worker the answer to its request for credit.
func (p *process) answer(ctx context.Context, c *call, a answer) {
	p.mu.Lock()
	c.waiting = false
	c.granted, c.refused = a.bytes, a.refused
	c.heard, c.seen = p.cfg.pulse.Mark(), look{}
	p.mu.Unlock()
	if !p.send.take(ctx) {
		return // the caller sees that ctx has ended
	}
	defer p.send.give()
	p.dispatch(ctx, c, &workerpb.WorkRequest{Message: &workerpb.WorkRequest_Credit{Credit: &workerpb.Credit{Batch: c.id, Bytes: uint64(a.bytes), Stop: a.stop, Drop: a.refused != nil}}})
}

// charge subtracts results from a call's credit. It returns what is wrong if there is not enough credit, or if the worker should be waiting for some. A grant
// is for one message: what this message does not use is lost.
func (p *process) charge(c *call, r *workerpb.Results) (problem string) {
	if c.answers == nil {
		return ""
	}
	size := wire.ResultsBytes(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	free := uint64(0)
	switch {
	case c.canceled.Load(), c.refused != nil:
		free = wire.CanceledBytes * uint64(r.GetCount())
	case c.waiting:
		return "results of a batch that waits for credit"
	}
	if most := uint64(c.credit + c.granted); size > free+most {
		return fmt.Sprintf("results of %d bytes, and the batch has a credit of %d left", size, most)
	}
	beyond := size - min(size, uint64(c.granted)+free)
	c.credit -= int(beyond)
	c.granted, c.asked = 0, false
	return ""
}
