package conform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/session"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// Worker is a worker that has been started and whose Work stream has not been opened.
type Worker struct {
	Service workerpb.WorkerServiceClient
	Link    *link.Link      // nil if the worker has none; it need not use it
	Gone    <-chan struct{} // closed when nothing of the worker is left
	Kill    func()          // ends the worker and returns when nothing of it is left
	Death   func() string   // how it ended, in words, once it is gone; nil if nothing is known
	Torn    func() error    // what its teardown said, once it is gone; nil if nothing is known
	Buffers *Buffers        // nil if it was given none
}

// Stream is the Work stream of a worker. The first answer that breaks the protocol ends the stream, and so does an error of an item that cannot be
// true, which hosts forgive.
type Stream struct {
	worker     *Worker
	session    *session.Session
	resultKind string
	most       uint64 // bytes of results that it holds for a check; 0 means no limit
	buffers    bool   // the worker says that it has mapped them

	mu   sync.Mutex
	held uint64 // bytes of results that have come for this check, or may come unasked

	err   error
	ended chan struct{} // closed when err is final: io.EOF if the worker ended the stream as it should
}

// Order is a batch to be run.
type Order struct {
	Count   int
	Items   []byte
	At      []uint64 // where the items lie in the buffers, instead of Items
	Size    []uint64
	JSON    bool
	Timeout time.Duration
	Budget  time.Duration
	Timed   bool
	Credit  int  // bytes of results that may come unasked; 0 leaves that to the stream
	Stop    bool // the rest is to be handed back after the first request for credit
	Drop    bool // and the results that it is for are to be dropped
}

// Batch is a batch that was sent, with its results so far. Its fields may be read once it has ended.
type Batch struct {
	session.Batch
	stream *Stream
	order  Order
	over   chan struct{}

	Values  [][]byte // by place; nil for failed items. JSON texts or packed values, as ordered
	Errors  map[int]*wire.ItemError
	ItemNS  []uint64
	Run     time.Duration
	Took    time.Duration // from being sent
	Parts   int           // messages of results
	Needs   int           // times that it asked for credit
	Overrun bool          // the worker said that an item passed its limit
	Left    bool          // the worker asked to be replaced
}

var _ session.Receiver = (*Batch)(nil)

// Setup is how long a workload's set-up may take.
const Setup = 5 * time.Minute

// keptBytes is how many bytes of results the checks of one workload remember. A stream whose results are limited holds twice as much and one more result,
// because an item may give a larger result the next time.
const keptBytes = 64 << 20

// OpenStream opens the stream and waits for the workload's set-up. ctx bounds the life of the stream. With a maxResult, the most bytes of
// a result, it also bounds what it holds of all results.
func OpenStream(ctx context.Context, w *Worker, resultKind string, threads int, maxResult uint64) (*Stream, error) {
	s := &Stream{worker: w, resultKind: resultKind, ended: make(chan struct{})}
	largest := uint64(math.MaxInt)
	if maxResult > 0 {
		s.most = 2*keptBytes + maxResult
		largest = s.most
	}
	ctx, cancel := context.WithCancel(ctx)
	limit := time.AfterFunc(Setup, cancel)
	var err error
	s.session, err = session.Open(ctx, w.Service, session.Options{
		Start:           &workerpb.Start{Worker: 1, Threads: uint32(threads), MaxResultBytes: maxResult},
		MaxMessageBytes: int(largest),
		Link:            w.Link, Grace: answer, Failing: func() {}, Ignored: refuse,
	})
	if !limit.Stop() {
		err = fmt.Errorf("set-up not done after %v", Setup)
	}
	if setup, ok := errors.AsType[*session.SetupError](err); ok {
		err = fmt.Errorf("set-up: %w", setup)
	}
	if err != nil {
		cancel()
		return nil, s.explain(err)
	}
	s.buffers = s.session.Ready().GetBuffers()
	go s.receive()
	return s, nil
}

// explain adds what is known of the worker's end to an error of its stream.
func (s *Stream) explain(err error) error {
	if st, ok := status.FromError(err); ok && err != nil {
		err = errors.New(st.Message())
	}
	if s.worker.Death == nil {
		return err
	}
	select {
	case <-s.worker.Gone:
		return fmt.Errorf("%w (%s)", err, s.worker.Death())
	case <-time.After(200 * time.Millisecond): // it is not the worker that has ended
		return err
	}
}

// Send sends a batch.
func (s *Stream) Send(o Order) *Batch {
	if s.most > 0 && o.Credit == 0 {
		o.Credit = wire.BatchBytes
	}
	s.mu.Lock()
	s.held += uint64(o.Credit)
	s.mu.Unlock()
	b := &Batch{stream: s, order: o, over: make(chan struct{}), Errors: map[int]*wire.ItemError{}}
	b.Receiver = b
	format := workerpb.Format_FORMAT_PACKED
	if o.JSON {
		format = workerpb.Format_FORMAT_JSON
	}
	// An error means that the stream has ended; Wait says why.
	_ = s.session.Send(context.Background(), &b.Batch, &workerpb.Batch{
		Count: uint32(o.Count), Format: format, Items: o.Items,
		ItemTimeoutNs: uint64(o.Timeout), BudgetNs: uint64(o.Budget), Timed: o.Timed,
		BufferAt: o.At, BufferSize: o.Size, Credit: uint64(o.Credit),
	})
	return b
}

// Wait waits until the batch has ended.
func (s *Stream) Wait(b *Batch, limit time.Duration) error {
	select {
	case <-b.over:
		return nil
	case <-s.ended:
	case <-time.After(limit):
		s.session.Break() // nothing can be expected of this worker any more
		return fmt.Errorf("batch of %d items has not ended after %v", b.order.Count, limit)
	}
	select {
	case <-b.over:
		return nil
	default:
	}
	if errors.Is(s.err, io.EOF) {
		return errors.New("worker ended the stream before a batch had ended")
	}
	return s.err
}

// Run sends a batch and waits for it.
func (s *Stream) Run(o Order, limit time.Duration) (*Batch, error) {
	b := s.Send(o)
	return b, s.Wait(b, limit)
}

// Close closes the host's side and waits for the worker to close its own: io.EOF is what a worker should end with, so it is no
// error.
func (s *Stream) Close(limit time.Duration) error {
	s.session.CloseSend()
	select {
	case <-s.ended:
	case <-time.After(limit):
		return fmt.Errorf("worker has not closed the stream after %v", limit)
	}
	if errors.Is(s.err, io.EOF) {
		return nil
	}
	return s.err
}

// Break ends the stream in the way that the death of a host does.
func (s *Stream) Break() {
	s.session.Break()
	<-s.ended
}

// room returns how many bytes of results the stream can still hold. 0 means that there is no limit.
func (s *Stream) room() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.most - min(s.held, s.most))
}

// forget says that no check needs the results that have come so far.
func (s *Stream) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = 0
}

// alive reports whether the stream can take another batch.
func (s *Stream) alive() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// receive takes what the worker says until the stream ends.
func (s *Stream) receive() {
	defer close(s.ended)
	defer s.session.Break()
	err := s.session.Receive(nil)
	if !errors.Is(err, io.EOF) {
		err = s.explain(err)
	}
	s.err = err
}

// refuse makes an error of what hosts ignore.
func refuse(problem string) error { return &session.ProtocolError{Problem: problem} }

// ItemFailed is part of [session.Receiver].
func (b *Batch) ItemFailed(place int, e *wire.ItemError, doubt string) error {
	if doubt != "" {
		return refuse(fmt.Sprintf("item %d: %s", place, doubt))
	}
	b.Errors[place] = e
	return nil
}

// Results is part of [session.Receiver].
func (b *Batch) Results(r *workerpb.Results, column []byte) error {
	from, n := len(b.Values), int(r.GetCount())
	values, err := b.stream.split(b, column, n)
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	for _, e := range r.GetErrors() {
		if e.GetKind() == workerpb.Kind_KIND_UNSPECIFIED {
			return fmt.Errorf("the error of item %d has no kind", e.GetItem())
		}
		values[int(e.GetItem())-from] = nil
	}
	for i, v := range values {
		if b.order.JSON && v != nil && !wire.ValidText(v) {
			return fmt.Errorf("the result of item %d is not one line of JSON: %.60q", from+i, v)
		}
	}
	b.Values = append(b.Values, values...)
	b.ItemNS = append(b.ItemNS, r.GetItemNs()...)
	b.Run += time.Duration(r.GetRunNs())
	b.Parts++
	return nil
}

// Ended is part of [session.Receiver].
func (b *Batch) Ended(leaving bool) {
	b.Left, b.Took = leaving, time.Since(b.Sent())
	close(b.over)
}

// Overdue is part of [session.Receiver].
func (b *Batch) Overdue(int) { b.Overrun = true }

// ItemProgress is part of [session.Receiver].
func (b *Batch) ItemProgress(int, float64) {}

// CreditWanted is part of [session.Receiver]. The worker gets the credit unless the results of one check would exceed their bound.
func (b *Batch) CreditWanted(bytes int) error {
	s := b.stream
	s.mu.Lock()
	over := s.most > 0 && uint64(bytes) > s.most-min(s.held, s.most)
	if !over {
		s.held += uint64(bytes)
	}
	s.mu.Unlock()
	if over {
		return fmt.Errorf("results of one check come to more than %d bytes: it asks for %d more", s.most, bytes)
	}
	b.Needs++
	g := session.Grant{Bytes: bytes, Stop: b.order.Stop, Drop: b.order.Drop}
	if b.order.Drop {
		g.Bytes = 0
	}
	go func() { _ = s.session.Grant(context.Background(), &b.Batch, g) }() // the worker may have to be heard before it reads
	return nil
}

func (s *Stream) split(b *Batch, packed []byte, n int) ([][]byte, error) {
	if b.order.JSON {
		return splitColumn(packed, n, false)
	}
	return splitKind(s.resultKind, packed, n)
}

// done is the number of items that have an outcome.
func (b *Batch) done() int { return len(b.Values) }
