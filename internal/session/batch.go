package session

import (
	"context"
	"time"

	"github.com/parhost/parhost/internal/pulse"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// Receiver gets what a worker says of one batch, once that has been checked. Its methods are called by [Session.Receive], one after the other, with no
// lock held. Places count from 0 within the batch.
type Receiver interface {
	// ItemFailed gets the error of the item at a place; Results is called next, for the same message. doubt says why the error cannot be true, and is empty if
	// it can.
	ItemFailed(place int, e *wire.ItemError, doubt string) error
	// Results gets the results of the next items, r.Count of them. values is their column, whether it came in r or in shared memory. An error says that it is
	// no valid column, and ends the stream with a [*ProtocolError].
	Results(r *workerpb.Results, values []byte) error
	// Ended is called once: each item has an outcome, or the worker hands back those that have none. leaving says that the worker asks to be replaced.
	Ended(leaving bool)
	// Overdue says that the item at a place has passed its limit of time and runs on.
	Overdue(place int)
	// ItemProgress says which share of its work the item at a place has done, from 0 to 1.
	ItemProgress(place int, fraction float64)
	// CreditWanted says how many bytes of credit the worker needs for its next results. The worker waits until [Session.Grant] answers or the batch is
	// canceled. An error ends the stream.
	CreditWanted(bytes int) error
}

// Batch is a batch that a worker holds. The exported fields are set before it is sent.
type Batch struct {
	Receiver Receiver
	Room     []byte // memory that the worker may put results into; nil if there is none
	Copies   bool   // Receiver copies values before it looks at them. Otherwise what lies in Room is copied first, because the worker may change it at any time

	id       uint64
	count    int
	timed    bool
	timeout  time.Duration // of one item; 0 means none
	sent     time.Time
	done     int           // items that have an outcome; written by Receive alone, with mu held
	heard    pulse.Mark    // when the worker last said something about the batch, or when it became able to run it
	taken    int           // bytes of Room that have been read; of Receive alone
	timedOut time.Duration // how long the items that ended for their limit must have run, together; of Receive alone

	// Guarded by the session's mu.
	limited  bool         // there is a limit of credit
	credit   int          // bytes of results that the worker may send without asking
	granted  int          // bytes beyond the credit that the next message may have
	asked    bool         // the worker has asked for credit, and no results have come since
	waiting  bool         // the same, and it has no answer
	canceled bool         // it may have been told to cancel the batch
	items    map[int]bool // the same for items alone
	dropped  bool         // it has been told to drop results
}

// ID is the number of the batch on the stream, 0 before it is sent.
func (b *Batch) ID() uint64 { return b.id }

// Sent is when the batch was sent.
func (b *Batch) Sent() time.Time { return b.sent }

// Count is how many items were sent.
func (b *Batch) Count() int { return b.count }

// Timeout is the limit of time of one item; 0 means none.
func (b *Batch) Timeout() time.Duration { return b.timeout }

// Done is how many items have an outcome. It is for the goroutine that runs [Session.Receive], and for anyone once the batch has ended; others use
// [Session.Progress].
func (b *Batch) Done() int { return b.done }

// Credit is the bytes of results that the worker has not used of the batch's credit, once the batch has ended.
func (b *Batch) Credit() int { return b.credit }

// Send sends the batch that m describes, and sets m.Id. It returns once the stream has taken the message. The error is [ErrClosed], or the cause of
// ctx's end.
// If the stream fails later, Receive returns why.
func (s *Session) Send(ctx context.Context, b *Batch, m *workerpb.Batch) error {
	b.count, b.timed, b.timeout = int(m.GetCount()), m.GetTimed(), time.Duration(m.GetItemTimeoutNs())
	b.limited, b.credit = m.GetCredit() > 0, int(m.GetCredit())
	// The semaphore is held for both steps, so that batches are sent in the order of their ids.
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.sending.Release(1)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.lastID++
	b.id, b.sent, b.heard = s.lastID, time.Now(), s.options.Pulse.Mark()
	s.batches[b.id] = b
	s.order = append(s.order, b)
	s.mu.Unlock()
	m.Id = b.id
	s.dispatch(ctx, b, &workerpb.WorkRequest{Message: &workerpb.WorkRequest_Batch{Batch: m}})
	return nil
}

// acquire waits until no other message is being sent.
func (s *Session) acquire(ctx context.Context) error {
	if s.sending.TryAcquire(1) { // also where ctx has ended: the message costs nothing then
		return nil
	}
	if s.sending.Acquire(ctx, 1) != nil {
		return context.Cause(ctx)
	}
	return nil
}

// dispatch sends a message about a batch. A link says itself when there is no room for it. gRPC takes a message whatever the worker does, unless an
// earlier one has used up what may wait to be sent. An error means that the stream has ended; Receive returns why.
func (s *Session) dispatch(ctx context.Context, b *Batch, m *workerpb.WorkRequest) {
	blocked := func() func() {
		if s.options.Blocked == nil {
			return func() {}
		}
		return s.options.Blocked(ctx, b)
	}
	if s.linked != nil {
		_ = s.linked.SendOr(m, blocked)
		return
	}
	defer blocked()()
	_ = s.stream.Send(m)
}

// CancelBatch tells the worker to end the items of a batch. A batch that the worker does not hold any more costs nothing.
func (s *Session) CancelBatch(id uint64) {
	s.mu.Lock()
	if b := s.batches[id]; b != nil {
		b.canceled = true // before the worker can know
	}
	s.mu.Unlock()
	s.sendCancel(&workerpb.Cancel{Batch: id})
}

// CancelItem tells the worker to end the item at a place of a batch.
func (s *Session) CancelItem(id uint64, place int) {
	s.mu.Lock()
	if b := s.batches[id]; b != nil {
		if b.items == nil {
			b.items = map[int]bool{}
		}
		b.items[place] = true
	}
	s.mu.Unlock()
	at := uint32(place)
	s.sendCancel(&workerpb.Cancel{Batch: id, Item: &at})
}

func (s *Session) sendCancel(c *workerpb.Cancel) {
	_ = s.sending.Acquire(context.Background(), 1) // cannot fail; who holds it is watched by Options.Blocked
	defer s.sending.Release(1)
	_ = s.stream.Send(&workerpb.WorkRequest{Message: &workerpb.WorkRequest_Cancel{Cancel: c}})
}

// Grant is the answer to a worker that needs credit.
type Grant struct {
	Bytes int  // of results that may come
	Stop  bool // the worker is to hand back what it has not begun of the batch
	Drop  bool // the results are not taken: their items are to be canceled
}

// Grant answers a worker that needs credit for a batch. The error is the cause of ctx's end.
func (s *Session) Grant(ctx context.Context, b *Batch, g Grant) error {
	s.mu.Lock()
	b.waiting, b.granted, b.dropped = false, g.Bytes, b.dropped || g.Drop
	b.heard = s.options.Pulse.Mark()
	s.mu.Unlock()
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.sending.Release(1)
	s.dispatch(ctx, b, &workerpb.WorkRequest{Message: &workerpb.WorkRequest_Credit{Credit: &workerpb.Credit{
		Batch: b.id, Bytes: uint64(g.Bytes), Stop: g.Stop, Drop: g.Drop,
	}}})
	return nil
}
