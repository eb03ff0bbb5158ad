package session

import (
	"context"
	"slices"
	"time"

	"github.com/parhost/parhost/internal/pulse"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/protocol"
)

// Receiver gets what a worker reports about one batch, after the session has checked it. [Session.Receive] calls its methods one after the other,
// without holding a lock. Places count from 0 within the batch.
type Receiver interface {
	// ItemFailed gets the error of the item at a place. Results is called after it, for the same message. doubt says why the error cannot be true; it
	// is empty if the error can be true.
	ItemFailed(place int, e *protocol.ItemError, doubt string) error
	// Results gets the results of the next r.Count items. values is their column, whether it came in r or in shared memory. An error means that values
	// is not a valid column, and ends the stream with a [*ProtocolError].
	Results(r *workerpb.Results, values []byte) error
	// Ended is called once, when each item has an outcome or the worker has handed back the others. leaving is true if the worker asks to be replaced.
	Ended(leaving bool)
	// Overdue is called when the worker reports that the item at a place has exceeded its time limit and still runs.
	Overdue(place int)
	// ItemProgress gets the fraction of its work that the item at a place has done, from 0 to 1.
	ItemProgress(place int, fraction float64)
	// CreditWanted gets the bytes of credit that the worker needs for its next results. The worker waits until [Session.Grant] answers or the batch is
	// canceled. An error ends the stream.
	CreditWanted(bytes int) error
}

// Batch is a batch that is sent to a worker. The exported fields must be set before it is sent.
type Batch struct {
	Receiver Receiver
	Room     []byte // memory in which the worker may put results; nil if there is none
	Copies   bool   // Receiver copies values before it examines them; if false, the session copies them, because the worker can change Room

	id       uint64
	count    int
	timed    bool
	timeout  time.Duration // time limit of one item; 0 means none
	sent     time.Time
	done     int           // items that have an outcome; written only by Receive, with mu held
	heard    pulse.Mark    // when the worker last reported on the batch, or became able to run it
	taken    int           // bytes of Room that have been read; used only by Receive
	timedOut time.Duration // total time that the timed-out items must have run; used only by Receive

	// Guarded by the session's mu.
	limited  bool         // the batch has a credit limit
	credit   int          // bytes of results that the worker may send without asking
	granted  int          // bytes beyond credit that the next message may use
	asked    bool         // the worker has asked for credit and has sent no results since
	waiting  bool         // the worker has asked for credit and has no answer yet
	canceled bool         // the worker may have been told to cancel the batch
	items    map[int]bool // places of the items that the worker may have been told to cancel
	dropped  bool         // the worker has been told to drop results
	recalled bool         // the worker may have been asked to hand the batch back
}

// ID returns the number of the batch on the stream, or 0 before it is sent.
func (b *Batch) ID() uint64 { return b.id }

// Sent returns the time at which the batch was sent.
func (b *Batch) Sent() time.Time { return b.sent }

// Count returns how many items were sent.
func (b *Batch) Count() int { return b.count }

// Timeout returns the time limit of one item; 0 means none.
func (b *Batch) Timeout() time.Duration { return b.timeout }

// Done returns how many items have an outcome. Only the goroutine that runs [Session.Receive] may call it, until the batch has ended; other
// goroutines use [Session.Progress].
func (b *Batch) Done() int { return b.done }

// Credit returns how many bytes of the batch's credit the worker has not used. It may be called once the batch has ended.
func (b *Batch) Credit() int { return b.credit }

// Send sends the batch that m describes, and sets m.Id. It returns when the stream has taken the message. The error is [ErrClosed], or ctx's cause
// if ctx ends first. If the stream fails later, Receive returns the reason.
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

// acquire waits until no other message is being sent. It returns ctx's cause if ctx ends first.
func (s *Session) acquire(ctx context.Context) error {
	if s.sending.TryAcquire(1) { // even if ctx has ended: sending takes no time then
		return nil
	}
	if s.sending.Acquire(ctx, 1) != nil {
		return context.Cause(ctx)
	}
	return nil
}

// dispatch sends a message about a batch, and calls Options.Blocked while it may have to wait. A link reports when it has no room for the message.
// gRPC normally queues a message whatever the worker does, unless earlier messages fill the queue. A failed send means that the stream has ended;
// Receive returns the reason.
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

// CancelBatch tells the worker to cancel the items of a batch. It does no harm if the worker no longer holds the batch.
func (s *Session) CancelBatch(id uint64) {
	s.mu.Lock()
	if b := s.batches[id]; b != nil {
		b.canceled = true // set before the worker can know of it
	}
	s.mu.Unlock()
	s.sendCancel(&workerpb.Cancel{Batch: id})
}

// CancelItem tells the worker to cancel the item at a place of a batch.
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
	_ = s.sending.Acquire(context.Background(), 1) // cannot fail, and Options.Blocked watches whoever holds it
	defer s.sending.Release(1)
	_ = s.stream.Send(&workerpb.WorkRequest{Message: &workerpb.WorkRequest_Cancel{Cancel: c}})
}

// Recall asks the worker to hand back the batch that waits behind the fewest others in it and was not asked for before. It does nothing if there is none, or if
// the worker knows no Recall. The worker answers with [Receiver.Ended], unless it begins the batch first.
func (s *Session) Recall() {
	if !s.ready.GetRecall() {
		return
	}
	_ = s.sending.Acquire(context.Background(), 1) // cannot fail, and Options.Blocked watches whoever holds it
	defer s.sending.Release(1)
	s.mu.Lock()
	waiting := s.order[min(s.threads, len(s.order)):] // behind those that the worker may have begun
	at := slices.IndexFunc(waiting, func(b *Batch) bool { return !b.recalled && !b.canceled })
	if at < 0 || s.closed {
		s.mu.Unlock()
		return
	}
	b := waiting[at]
	b.recalled = true // set before the worker can know of it
	s.mu.Unlock()
	s.dispatch(context.Background(), b, &workerpb.WorkRequest{Message: &workerpb.WorkRequest_Recall{Recall: &workerpb.Recall{Batch: b.id}}})
}

// Grant is the answer to a worker's request for credit.
type Grant struct {
	Bytes int  // bytes of results that the worker may send
	Stop  bool // the worker must hand back the items of the batch that it has not begun
	Drop  bool // the host does not take the results: the worker must cancel their items
}

// Grant answers a worker's request for credit for a batch. It returns ctx's cause if ctx ends first.
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
