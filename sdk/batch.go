package sdk

import (
	"sync"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/internal/work"
)

// batch is a batch that the worker has received and not finished.
type batch struct {
	id      uint64
	job     *work.Job
	limited bool   // the host bounds the bytes of its results
	credit  uint64 // that may still be sent; its thread's own

	more     chan *workerpb.Credit // that the host gives; has room for the answer to one question
	canceled chan struct{}         // closed when all of the batch is cancelled
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

// cancel ends all items of the batch.
func (b *batch) cancel() {
	if b.limited {
		b.once.Do(func() { close(b.canceled) })
	}
	b.job.CancelAll()
}

// give adds credit. The host gives some only when it is asked, and at most as often; what comes beyond that is dropped.
func (b *batch) give(c *workerpb.Credit) {
	select {
	case b.more <- c: // nil, and so never ready, if there is no limit
	default:
	}
}

// pay waits until the host takes a message of results, and reports whether it does: it does not if the batch is cancelled before, or if the host has no
// room.
func (s *server) pay(b *batch, r *workerpb.Results) bool {
	if !b.limited {
		return true
	}
	size := wire.ResultsBytes(r)
	for b.credit < size {
		select {
		case <-b.canceled: // the host answers no question any more
			return false
		default:
		}
		need := &workerpb.Need{Batch: b.id, Bytes: size - b.credit}
		if s.respond(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Need{Need: need}}) != nil {
			return false // nobody listens any more
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

// withhold turns results that the host did not accept into cancelled items.
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
