package sdk

import (
	"sync"
	"sync/atomic"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/internal/work"
)

// batch is a batch that the worker has received and has not finished yet.
type batch struct {
	id      uint64
	job     *work.Job
	taken   atomic.Bool // a thread runs the batch, or it has been recalled before that
	all     bool        // the whole batch has been canceled; only the goroutine that reads the stream uses it
	limited bool        // the host limits the bytes of this batch's results
	credit  uint64      // bytes of results that may still be sent; only the thread that runs the batch uses it

	more     chan *workerpb.Credit // answers of the host to a Need message; room for one, because only one question is open at a time
	canceled chan struct{}         // closed when the whole batch is canceled
	once     sync.Once             // closes canceled
}

func newBatch(m *workerpb.Batch) *batch {
	b := &batch{id: m.GetId()}
	if m.GetCredit() > 0 {
		b.limited, b.credit = true, m.GetCredit()
		b.more, b.canceled = make(chan *workerpb.Credit, 1), make(chan struct{})
	}
	return b
}

// cancel cancels all items of the batch.
func (b *batch) cancel() {
	if b.limited {
		b.once.Do(func() { close(b.canceled) })
	}
	b.job.CancelAll()
}

// give adds credit that the host has sent. The host sends credit only in answer to a Need message, one answer for each; any further credit is
// dropped.
func (b *batch) give(c *workerpb.Credit) {
	select {
	case b.more <- c: // more is nil, so this case is never ready, if the batch has no limit
	default:
	}
}

// recall hands a batch back at once, unless a thread has taken it or it has been canceled.
func (s *server) recall(b *batch) {
	if b != nil && !b.all && b.taken.CompareAndSwap(false, true) {
		b.job.Report(work.Part{Last: true})
	}
}

// pay waits until the batch has enough credit to send r, and takes the credit. It returns false if the results must not be sent: the batch was
// canceled first, the host has no room for them, or the stream is gone.
func (s *server) pay(b *batch, r *workerpb.Results) bool {
	if !b.limited {
		return true
	}
	size := wire.ResultsBytes(r)
	for b.credit < size {
		select {
		case <-b.canceled: // the host does not answer questions about a canceled batch
			return false
		default:
		}
		need := &workerpb.Need{Batch: b.id, Bytes: size - b.credit}
		if s.respond(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Need{Need: need}}) != nil {
			return false // the stream is gone
		}
		select {
		case more := <-b.more:
			b.credit += more.GetBytes()
			if more.GetStop() {
				b.job.HandBack()
			}
			if more.GetDrop() {
				return false
			}
		case <-b.canceled:
			return false
		}
	}
	b.credit -= size
	return true
}

// withhold replaces results that the host did not accept by canceled items.
func (s *server) withhold(b *batch, r *workerpb.Results) {
	_, kind := s.workload.core.Kinds()
	width := wire.KindWidth(kind)
	if b.job.Format == work.JSON {
		width = 0
	}
	r.Values, r.RoomAt, r.RoomUsed, r.Errors = wire.EmptyColumn(int(r.GetCount()), width), 0, 0, nil
	for at := range r.GetCount() {
		r.Errors = append(r.Errors, &workerpb.ItemError{Item: r.GetFrom() + at, Kind: workerpb.Kind_KIND_CANCELED, Message: "item was canceled"})
	}
}
