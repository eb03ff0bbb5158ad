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
	"github.com/parhost/parhost/protocol"
)

// Worker is a worker process or goroutine that has been started, and whose Work stream is not open yet.
type Worker struct {
	Service workerpb.WorkerServiceClient
	Link    *link.Link      // nil if the worker has none; the worker need not use it
	Gone    <-chan struct{} // closed when the worker and all its processes are gone
	Kill    func()          // ends the worker, and returns when it and all its processes are gone
	Death   func() string   // describes how the worker ended; may be called when Gone is closed; nil if nothing is known
	Torn    func() error    // returns the error of its teardown; may be called when Gone is closed; nil if nothing is known
	Buffers *Buffers        // nil if the worker was given none
}

// Stream is the Work stream of a worker. The first message that breaks the protocol ends the stream. So does an item error that cannot be true,
// which hosts tolerate.
type Stream struct {
	worker     *Worker
	session    *session.Session
	resultKind string
	most       uint64 // most bytes of results that the stream may hold for a check; 0 means no limit
	buffers    bool   // the worker says that it has mapped the buffers

	mu   sync.Mutex
	held uint64 // bytes of results that have come for this check, or that the worker may send on its credit

	err   error
	ended chan struct{} // closed when err is final; err is io.EOF if the worker ended the stream properly
}

// Order describes a batch to send.
type Order struct {
	Count   int
	Items   []byte
	At      []uint64 // offsets of the items in the buffers, used instead of Items
	Size    []uint64
	JSON    bool
	Timeout time.Duration
	Budget  time.Duration
	Timed   bool
	Credit  int  // bytes of results that the worker may send before it asks; 0 means the stream's default
	Stop    bool // on the first request for credit, tell the worker to hand back the items that it has not begun
	Drop    bool // on a request for credit, tell the worker to drop the results that wait for it
}

// Batch is a batch that was sent, with its results so far. Its fields may be read once the batch has ended.
type Batch struct {
	session.Batch
	stream *Stream
	order  Order
	over   chan struct{}
	came   chan struct{} // has room for one; receives when results have come

	Values  [][]byte // by place in the batch, nil for failed items; JSON texts or packed values, as ordered
	Errors  map[int]*protocol.ItemError
	ItemNS  []uint64
	Run     time.Duration
	Took    time.Duration // from sending to the end
	Parts   int           // number of Results messages
	Needs   int           // number of requests for credit
	Overrun bool          // the worker said that an item passed its time limit
	Left    bool          // the worker asked to be replaced
}

var _ session.Receiver = (*Batch)(nil)

// Setup is the time limit for a workload's set-up.
const Setup = 5 * time.Minute

// keptBytes is the most bytes of results that the checks of one workload keep. A stream with a limit holds twice that plus one result, because an
// item may give a larger result in a later run.
const keptBytes = 64 << 20

// OpenStream opens the stream and waits for the workload's set-up. ctx bounds the life of the stream. maxResult is the most bytes of one result; if
// it is not 0, the bytes of all results that the stream holds are bounded too.
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

// explain turns a gRPC error into its message, and adds how the worker ended if it is gone within 200 ms.
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
	case <-time.After(200 * time.Millisecond): // the stream has ended, but the worker has not
		return err
	}
}

// Send sends a batch. It does not report errors; Wait does.
func (s *Stream) Send(o Order) *Batch {
	if s.most > 0 && o.Credit == 0 {
		o.Credit = wire.BatchBytes
	}
	s.mu.Lock()
	s.held += uint64(o.Credit)
	s.mu.Unlock()
	b := &Batch{stream: s, order: o, over: make(chan struct{}), came: make(chan struct{}, 1), Errors: map[int]*protocol.ItemError{}}
	b.Receiver = b
	format := workerpb.Format_FORMAT_PACKED
	if o.JSON {
		format = workerpb.Format_FORMAT_JSON
	}
	// An error means that the stream has ended, and Wait returns the reason.
	_ = s.session.Send(context.Background(), &b.Batch, &workerpb.Batch{
		Count: uint32(o.Count), Format: format, Items: o.Items,
		ItemTimeoutNs: uint64(o.Timeout), BudgetNs: uint64(o.Budget), Timed: o.Timed,
		BufferAt: o.At, BufferSize: o.Size, Credit: uint64(o.Credit),
	})
	return b
}

// maxWaits bounds the time of a batch whose results keep coming: it may take maxWaits times its limit.
const maxWaits = 10

// Wait waits until the batch has ended. If no result comes for longer than limit, or the batch takes maxWaits times as long, Wait breaks the stream and
// returns an error.
func (s *Stream) Wait(b *Batch, limit time.Duration) error { return s.wait(b, limit, maxWaits*limit) }

// wait waits until the batch has ended, but no longer than limit after the last results, and no longer than longest in all.
func (s *Stream) wait(b *Batch, limit, longest time.Duration) error {
	begun := time.Now()
	quiet := time.NewTimer(limit)
	defer quiet.Stop()
	for waiting := true; waiting; {
		select {
		case <-b.over:
			return nil
		case <-s.ended:
			waiting = false
		case <-b.came: // the items run, even if a busy machine takes longer for them than it did before
			quiet.Reset(min(limit, longest-time.Since(begun)))
		case <-quiet.C:
			s.session.Break() // this worker is not expected to answer any more
			return fmt.Errorf("batch of %d items has not ended after %v", b.order.Count, time.Since(begun).Round(time.Millisecond))
		}
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

// Run sends a batch and waits until it has ended.
func (s *Stream) Run(o Order, limit time.Duration) (*Batch, error) {
	b := s.Send(o)
	return b, s.Wait(b, limit)
}

// RunWithin is Run, but the limit is for the batch as a whole.
func (s *Stream) RunWithin(o Order, limit time.Duration) (*Batch, error) {
	b := s.Send(o)
	return b, s.wait(b, limit, limit)
}

// Close closes the host's side and waits until the worker has closed its own. It returns nil if the worker ended the stream with io.EOF, as it should.
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

// Break ends the stream as the death of a host would.
func (s *Stream) Break() {
	s.session.Break()
	<-s.ended
}

// room returns how many more bytes of results the stream can hold. It returns 0 if there is no limit.
func (s *Stream) room() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.most - min(s.held, s.most))
}

// forget resets the count of held bytes, because no check needs the earlier results any more.
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

// receive handles the worker's messages until the stream ends.
func (s *Stream) receive() {
	defer close(s.ended)
	defer s.session.Break()
	err := s.session.Receive(nil)
	if !errors.Is(err, io.EOF) {
		err = s.explain(err)
	}
	s.err = err
}

// refuse returns an error for a message that hosts ignore.
func refuse(problem string) error { return &session.ProtocolError{Problem: problem} }

// ItemFailed is part of [session.Receiver].
func (b *Batch) ItemFailed(place int, e *protocol.ItemError, doubt string) error {
	if doubt != "" {
		return refuse(fmt.Sprintf("item %d: %s", place, doubt))
	}
	b.Errors[place] = e
	return nil
}

// Results is part of [session.Receiver].
func (b *Batch) Results(r *workerpb.Results, column []byte) error {
	select {
	case b.came <- struct{}{}:
	default:
	}
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

// CreditWanted is part of [session.Receiver]. It grants the credit unless the results of this check would exceed the stream's limit.
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
	go func() { _ = s.session.Grant(context.Background(), &b.Batch, g) }() // the worker may not read before the host has read more
	return nil
}

func (s *Stream) split(b *Batch, packed []byte, n int) ([][]byte, error) {
	if b.order.JSON {
		return splitColumn(packed, n, false)
	}
	return splitKind(s.resultKind, packed, n)
}

// done returns the number of items that have an outcome.
func (b *Batch) done() int { return len(b.Values) }
