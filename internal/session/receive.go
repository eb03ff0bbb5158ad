package session

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/protocol"
)

// handle checks one message and passes it to the receiver of its batch.
func (s *Session) handle(r *workerpb.WorkResponse) error {
	switch m := r.GetMessage().(type) {
	case *workerpb.WorkResponse_Results:
		return s.results(m.Results)
	case *workerpb.WorkResponse_Progress:
		return s.progress(m.Progress)
	case *workerpb.WorkResponse_Overdue:
		return s.overdue(m.Overdue)
	case *workerpb.WorkResponse_Need:
		return s.need(m.Need)
	default:
		return problem("a message of kind %T", m)
	}
}

// lookup returns the batch with an id. If the worker does not hold it, ended says whether it did earlier. Called with mu held.
func (s *Session) lookup(id uint64) (b *Batch, ended bool) {
	b = s.batches[id]
	return b, b == nil && id > 0 && id <= s.lastID
}

// results checks a Results message and passes it on. Numbers of the worker are compared before they are converted to int, which has 32 bits on some machines.
func (s *Session) results(r *workerpb.Results) error {
	s.mu.Lock()
	b, ended := s.lookup(r.GetBatch())
	mayBeEmpty := r.GetLeaving() || b != nil && b.recalled
	s.mu.Unlock()
	if ended && r.GetCount() == 0 && r.GetLast() {
		return nil // the end of a batch that had ended already, see section 5.3
	}
	if b == nil {
		return problem("results for batch %d, which it does not hold", r.GetBatch())
	}
	if r.GetFrom() != uint32(b.done) {
		return problem("results from item %d on, want item %d: they must come in order and without gaps", r.GetFrom(), b.done)
	}
	if r.GetCount() > uint32(b.count-b.done) {
		return problem("results for items %d to %d of a batch of %d", r.GetFrom(), int64(r.GetFrom())+int64(r.GetCount())-1, b.count)
	}
	from, n := b.done, int(r.GetCount())
	if n == 0 && !r.GetLast() || from+n == 0 && !mayBeEmpty {
		return problem("results for no item") // a worker could send such messages without end
	}
	switch t := len(r.GetItemNs()); {
	case t == n:
	case t != 0:
		return problem("%d times for %d items", t, n)
	case b.timed:
		if err := s.ignored("0 times for %d items, and the batch asks for the time of each", n); err != nil {
			return err
		}
	}
	if u := len(r.GetItemUsage()); u != 0 && u != n {
		return problem("what %d items used, and these are %d items", u, n)
	}
	canceled, err := s.charge(b, r)
	if err != nil {
		return err
	}
	for i, e := range r.GetErrors() {
		at := e.GetItem()
		if at < uint32(from) || at >= uint32(from+n) || i > 0 && at <= r.GetErrors()[i-1].GetItem() {
			return problem("an error for item %d among the results for items %d to %d", at, from, from+n-1)
		}
		own := wire.ErrorFromProto(e)
		if err := b.Receiver.ItemFailed(int(at), own, s.doubt(b, int(at), own, canceled)); err != nil {
			return err
		}
	}
	values, err := b.values(r)
	if err != nil {
		return err
	}
	if err := b.Receiver.Results(r, values); err != nil {
		return &ProtocolError{err.Error()}
	}
	s.mu.Lock()
	b.done += n
	b.heard = s.options.Pulse.Mark()
	over := r.GetLast() || b.done == b.count
	if over {
		s.remove(b)
	}
	s.mu.Unlock()
	if over {
		b.Receiver.Ended(r.GetLeaving())
	}
	return nil
}

// remove removes a batch from those that the worker holds. Called with mu held.
func (s *Session) remove(b *Batch) {
	ran := s.mayRun(b)
	delete(s.batches, b.id)
	s.order = slices.DeleteFunc(s.order, func(o *Batch) bool { return o == b })
	if ran && s.threads <= len(s.order) {
		s.order[s.threads-1].heard = s.options.Pulse.Mark() // the worker may run this batch from now on
	}
}

// charge subtracts results from a batch's credit, and reports whether the batch has been canceled. It refuses results beyond the credit, and
// results that must wait for credit. A grant is for one message: what the message does not use of it is lost.
func (s *Session) charge(b *Batch, r *workerpb.Results) (canceled bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	canceled = b.canceled || b.dropped
	if !b.limited {
		return canceled, nil
	}
	free := uint64(0)
	switch {
	case canceled:
		free = wire.CanceledBytes * uint64(r.GetCount())
	case b.waiting:
		return canceled, problem("results of a batch that waits for credit")
	}
	size := wire.ResultsBytes(r)
	if most := uint64(b.credit + b.granted); size > free+most {
		return canceled, problem("results of %d bytes, and the batch has a credit of %d left", size, most)
	}
	b.credit -= int(size - min(size, uint64(b.granted)+free))
	b.granted, b.asked = 0, false
	return canceled, nil
}

// doubt returns the reason why an item's error cannot be true, or "" if it can be.
func (s *Session) doubt(b *Batch, place int, e *protocol.ItemError, canceled bool) string {
	s.mu.Lock()
	canceled = canceled || b.items[place]
	s.mu.Unlock()
	doubt := wire.Doubt(e, wire.Known{
		Canceled: canceled, Limit: b.timeout, Ran: time.Since(b.sent) - b.timedOut, MaxResult: s.options.Start.GetMaxResultBytes(),
	})
	if doubt == "" && e.Kind == protocol.KindTimeout { // the items of a batch run one after the other, so this time is gone for the others
		b.timedOut += max(0, b.timeout-wire.ClockSlack)
	}
	return doubt
}

// values returns the column of a Results message.
func (b *Batch) values(r *workerpb.Results) ([]byte, error) {
	at, used := r.GetRoomAt(), r.GetRoomUsed()
	switch size := uint64(len(b.Room)); {
	case used == 0:
		return r.GetValues(), nil
	case at < uint64(b.taken) || at > size || used > size-at:
		return nil, problem("results of %d bytes at %d of a room of %d, of which %d have been read", used, at, size, b.taken)
	}
	b.taken = int(at + used)
	column := b.Room[at : at+used : at+used]
	if b.Copies {
		return column, nil
	}
	return bytes.Clone(column), nil
}

// progress passes on the progress of a running item.
func (s *Session) progress(p *workerpb.Progress) error {
	s.mu.Lock()
	b, ended := s.lookup(p.GetBatch())
	fits := b != nil && s.mayRun(b) && p.GetItem() >= uint32(b.done) && p.GetItem() < uint32(b.count)
	crossed := ended || b != nil && p.GetItem() < uint32(b.done) // the message was sent before the item ended
	s.mu.Unlock()
	switch f := p.GetFraction(); {
	case crossed:
	case !fits:
		return s.ignored("progress of item %d of batch %d, which it does not run", p.GetItem(), p.GetBatch())
	case !(f >= 0 && f <= 1): // written so that it also refuses NaN
		return s.ignored("progress of %v, want 0 to 1", f)
	default:
		b.Receiver.ItemProgress(int(p.GetItem()), f)
	}
	return nil
}

// ignored reports a harmless message that fits no item. It returns the error of Options.Ignored.
func (s *Session) ignored(format string, args ...any) error {
	if s.options.Ignored == nil {
		return nil
	}
	return s.options.Ignored(fmt.Sprintf(format, args...))
}

// overdue passes on that an item has exceeded its time limit. The host kills the worker if such an item does not end, so the message is accepted
// only for a batch that may run, and only after the limit can have passed.
func (s *Session) overdue(o *workerpb.Overdue) error {
	s.mu.Lock()
	b, ended := s.lookup(o.GetBatch())
	crossed := ended || b != nil && o.GetItem() < uint32(b.done) // the message was sent before the item ended
	runs := b != nil && s.mayRun(b)
	s.mu.Unlock()
	switch {
	case crossed:
		return nil
	case b == nil || o.GetItem() >= uint32(b.count):
		return s.ignored("item %d of batch %d overdue, which it does not hold", o.GetItem(), o.GetBatch())
	case b.timeout == 0:
		return problem("an item is overdue, and has no time limit")
	case !runs:
		return problem("item %d of a batch is overdue that waits for its turn", o.GetItem())
	}
	if passed := time.Since(b.sent); passed+wire.ClockSlack < b.timeout {
		return problem("an item is overdue %v after it was sent, and its time limit is %v", passed.Round(time.Millisecond), b.timeout)
	}
	b.Receiver.Overdue(int(o.GetItem()))
	return nil
}

// need passes on a request for credit for the next results of a batch. The item has ended by then, so no time limit runs until the answer. The
// worker may ask only once before it sends results, so that it cannot gain time by asking.
func (s *Session) need(n *workerpb.Need) error {
	s.mu.Lock()
	b, ended := s.lookup(n.GetBatch())
	switch {
	case ended, b != nil && b.canceled: // the batch ended or was canceled while the message was on its way
		s.mu.Unlock()
		return nil
	case b == nil:
		s.mu.Unlock()
		return problem("it asks for credit for batch %d, which it does not hold", n.GetBatch())
	case !b.limited:
		s.mu.Unlock()
		return problem("it asks for credit for a batch that has no limit")
	case b.asked:
		s.mu.Unlock()
		return problem("it asks for credit again, and has sent no results since")
	case n.GetBytes() == 0 || n.GetBytes() > uint64(s.options.MaxMessageBytes):
		s.mu.Unlock()
		return problem("it asks for a credit of %d bytes, the limit is %d", n.GetBytes(), s.options.MaxMessageBytes)
	}
	b.asked, b.waiting = true, true
	s.mu.Unlock()
	return b.Receiver.CreditWanted(int(n.GetBytes()))
}
