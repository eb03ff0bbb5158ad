package conform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/internal/link"
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

// Stream is the Work stream of a worker. Each answer is checked as a host checks it, and the first that breaks the protocol
// ends the stream.
type Stream struct {
	worker     *Worker
	stream     link.Conversation
	cancel     context.CancelFunc
	resultKind string
	maxResult  uint64
	most       uint64 // bytes of results that it holds for a check; 0 means no limit
	buffers    bool   // the worker says that it has mapped them

	send sync.Mutex
	mu   sync.Mutex
	next uint64
	open map[uint64]*Batch
	done map[uint64]bool // settled
	held uint64          // bytes of results that have come for this check, or may come unasked
	err  error

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

// Batch is an order on its way and what has become of it so far. Its fields may be read once it is settled.
type Batch struct {
	id    uint64
	order Order
	sent  time.Time
	over  chan struct{}

	credit uint64 // what is left of it, if there is a limit
	grant  uint64 // bytes more that the next results may have
	asked  bool   // it has asked for more, and no results have come since

	canceled      bool // all of it
	canceledItems map[int]bool
	timedOut      time.Duration // that its items which were ended for their limit must have run, together

	Values  [][]byte // by place; nil for failed items. JSON texts or packed values, as ordered
	Errors  map[int]*wire.ItemError
	ItemNS  []uint64
	Run     time.Duration
	Took    time.Duration // from being sent
	Parts   int           // messages that it was settled in
	Needs   int           // times that it asked for credit
	Overdue bool          // the worker said that an item passed its limit
	Leaving bool          // the worker asked to be replaced
}

// Setup is how long a workload's set-up may take.
const Setup = 5 * time.Minute

// keptBytes is how many bytes of results the checks of one workload remember. A stream whose results are limited holds twice as much and one more result,
// because an item may give a larger result the next time.
const keptBytes = 64 << 20

// SetupError is the error of a workload whose set-up failed, in the worker's words.
type SetupError struct{ Message string }

func (e *SetupError) Error() string { return "set-up: " + e.Message }

// OpenStream opens the stream and waits for the workload's set-up. ctx bounds the life of the stream. With a maxResult, the most bytes of
// a result, it also bounds what it holds of all results.
func OpenStream(ctx context.Context, w *Worker, resultKind string, threads int, maxResult uint64) (*Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &Stream{
		worker: w, cancel: cancel, resultKind: resultKind, maxResult: maxResult,
		open: map[uint64]*Batch{}, done: map[uint64]bool{}, ended: make(chan struct{}),
	}
	if maxResult > 0 {
		s.most = 2*keptBytes + maxResult
	}
	limit := time.AfterFunc(Setup, cancel)
	r, err := s.begin(ctx, threads, maxResult)
	if !limit.Stop() {
		err = fmt.Errorf("set-up not done after %v", Setup)
	}
	switch {
	case err != nil:
	case r.GetReady() == nil:
		err = fmt.Errorf("the first response is %T, want Ready", r.GetMessage())
	case r.GetReady().GetError() != "":
		err = &SetupError{wire.Bound(r.GetReady().GetError(), wire.MaxMessageText)}
	}
	if err != nil {
		cancel()
		return nil, s.explain(err)
	}
	s.buffers = r.GetReady().GetBuffers()
	go s.receive()
	return s, nil
}

func (s *Stream) begin(ctx context.Context, threads int, maxResult uint64) (*workerpb.WorkResponse, error) {
	stream, err := s.worker.Service.Work(ctx)
	if err != nil {
		return nil, err
	}
	s.stream = stream
	start := &workerpb.Start{Worker: 1, Threads: uint32(threads), MaxResultBytes: maxResult}
	err = s.stream.Send(&workerpb.WorkRequest{Message: &workerpb.WorkRequest_Start{Start: start}})
	if err != nil && !errors.Is(err, io.EOF) { // EOF: Recv knows why
		return nil, err
	}
	r, err := s.stream.Recv()
	if s.worker.Link != nil && r.GetReady().GetLink() {
		s.stream = link.NewClient(stream, s.worker.Link, answer, func() {}, s.cancel)
	}
	return r, err
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
	s.send.Lock()
	defer s.send.Unlock()
	s.mu.Lock()
	if s.most > 0 && o.Credit == 0 {
		o.Credit = wire.BatchBytes
	}
	s.held += uint64(o.Credit)
	s.next++
	b := &Batch{id: s.next, order: o, sent: time.Now(), over: make(chan struct{}), credit: uint64(o.Credit), Errors: map[int]*wire.ItemError{}}
	s.open[b.id] = b
	s.mu.Unlock()
	format := workerpb.Format_FORMAT_PACKED
	if o.JSON {
		format = workerpb.Format_FORMAT_JSON
	}
	// An error means that the stream has ended; Wait says why.
	_ = s.stream.Send(&workerpb.WorkRequest{Message: &workerpb.WorkRequest_Batch{Batch: &workerpb.Batch{
		Id: b.id, Count: uint32(o.Count), Format: format, Items: o.Items,
		ItemTimeoutNs: uint64(o.Timeout), BudgetNs: uint64(o.Budget), Timed: o.Timed,
		BufferAt: o.At, BufferSize: o.Size, Credit: uint64(o.Credit),
	}}})
	return b
}

// Cancel cancels a batch, or the item at a place of it if place is not negative.
func (s *Stream) Cancel(id uint64, place int) {
	c := &workerpb.Cancel{Batch: id}
	if place >= 0 {
		at := uint32(place)
		c.Item = &at
	}
	s.canceled(id, place)
	s.send.Lock()
	defer s.send.Unlock()
	_ = s.stream.Send(&workerpb.WorkRequest{Message: &workerpb.WorkRequest_Cancel{Cancel: c}})
}

// canceled writes down what is about to be canceled.
func (s *Stream) canceled(id uint64, place int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.open[id]
	switch {
	case b == nil:
	case place < 0:
		b.canceled = true
	default:
		if b.canceledItems == nil {
			b.canceledItems = map[int]bool{}
		}
		b.canceledItems[place] = true
	}
}

// Wait waits until the batch is settled.
func (s *Stream) Wait(b *Batch, limit time.Duration) error {
	select {
	case <-b.over:
		return nil
	case <-s.ended:
	case <-time.After(limit):
		s.cancel() // nothing can be expected of this worker any more
		return fmt.Errorf("batch of %d items is not settled after %v", b.order.Count, limit)
	}
	select {
	case <-b.over:
		return nil
	default:
	}
	if errors.Is(s.err, io.EOF) {
		return errors.New("worker ended the stream with a batch that is not settled")
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
	s.send.Lock()
	_ = s.stream.CloseSend()
	s.send.Unlock()
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

// Break ends the stream as a host does that dies.
func (s *Stream) Break() {
	s.cancel()
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
	defer s.cancel()
	for {
		r, err := s.stream.Recv()
		if err != nil {
			s.err = err
			if !errors.Is(err, io.EOF) {
				s.err = s.explain(err)
			}
			return
		}
		if err := s.hear(r); err != nil {
			s.err = fmt.Errorf("worker broke the protocol: %w", err)
			return
		}
	}
}

func (s *Stream) hear(r *workerpb.WorkResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m := r.GetMessage().(type) {
	case *workerpb.WorkResponse_Results:
		return s.results(m.Results)
	case *workerpb.WorkResponse_Progress:
		b, item, f := s.open[m.Progress.GetBatch()], int(m.Progress.GetItem()), m.Progress.GetFraction()
		switch {
		case b == nil && s.done[m.Progress.GetBatch()]: // said while it was being settled
			return nil
		case b == nil || item >= b.order.Count:
			return fmt.Errorf("progress of item %d of batch %d, which it was not given", item, m.Progress.GetBatch())
		case !(f >= 0 && f <= 1):
			return fmt.Errorf("progress of %v, want 0 to 1", f)
		}
		return nil
	case *workerpb.WorkResponse_Overdue:
		b := s.open[m.Overdue.GetBatch()]
		switch {
		case b == nil && s.done[m.Overdue.GetBatch()]:
			return nil
		case b == nil || int(m.Overdue.GetItem()) >= b.order.Count || b.order.Timeout == 0:
			return fmt.Errorf("item %d of batch %d overdue, which has no limit", m.Overdue.GetItem(), m.Overdue.GetBatch())
		case time.Since(b.sent)+wire.ClockSlack < b.order.Timeout:
			return fmt.Errorf("item %d of batch %d overdue %v after it was sent, and its time limit is %v", m.Overdue.GetItem(), m.Overdue.GetBatch(),
				time.Since(b.sent).Round(time.Millisecond), b.order.Timeout)
		}
		b.Overdue = true
		return nil
	case *workerpb.WorkResponse_Need:
		return s.need(m.Need)
	default:
		return fmt.Errorf("a message of kind %T", m)
	}
}

// need gives a worker the credit that it asks for. Called with mu held.
func (s *Stream) need(n *workerpb.Need) error {
	b := s.open[n.GetBatch()]
	switch {
	case b == nil:
		return fmt.Errorf("it asks for credit for batch %d, which it does not hold", n.GetBatch())
	case b.order.Credit == 0:
		return errors.New("it asks for credit for a batch that has no limit")
	case n.GetBytes() == 0 || b.asked:
		return fmt.Errorf("it asks for a credit of %d bytes, asked before: %v", n.GetBytes(), b.asked)
	case s.most > 0 && n.GetBytes() > s.most-min(s.held, s.most):
		return fmt.Errorf("results of one check come to more than %d bytes: it asks for %d more", s.most, n.GetBytes())
	}
	s.held += n.GetBytes()
	b.Needs, b.asked, b.grant = b.Needs+1, true, n.GetBytes()
	if b.order.Drop {
		b.grant = 0
	}
	go func() { // the worker may have to be heard before it reads
		s.send.Lock()
		defer s.send.Unlock()
		_ = s.stream.Send(&workerpb.WorkRequest{Message: &workerpb.WorkRequest_Credit{Credit: &workerpb.Credit{Batch: n.GetBatch(), Bytes: n.GetBytes(), Stop: b.order.Stop, Drop: b.order.Drop}}})
	}()
	return nil
}

// results writes down what the worker says it has done. Called with mu held.
func (s *Stream) results(r *workerpb.Results) error {
	b := s.open[r.GetBatch()]
	if b == nil {
		return fmt.Errorf("results for batch %d, which it does not hold", r.GetBatch())
	}
	from, n := int(r.GetFrom()), int(r.GetCount())
	switch t := len(r.GetItemNs()); {
	case from != len(b.Values):
		return fmt.Errorf("results from item %d on, want item %d: they must come in order and without gaps", from, len(b.Values))
	case n > b.order.Count-from:
		return fmt.Errorf("results for items %d to %d of a batch of %d", from, from+n-1, b.order.Count)
	case t != n && (t != 0 || b.order.Timed):
		return fmt.Errorf("%d times for %d items", t, n)
	}
	free := uint64(0)
	if b.canceled || b.order.Drop {
		free = wire.CanceledBytes * uint64(n)
	}
	if size := wire.ResultsBytes(r); b.order.Credit > 0 && size > free+b.credit+b.grant {
		return fmt.Errorf("results of %d bytes, and the batch has a credit of %d left", size, b.credit+b.grant)
	} else if b.order.Credit > 0 {
		b.credit -= size - min(size, b.grant+free)
		b.grant, b.asked = 0, false
	}
	values, err := s.split(b, r.GetValues(), n)
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	last := -1
	for _, e := range r.GetErrors() {
		at := int(e.GetItem())
		if at < from || at >= from+n || at <= last {
			return fmt.Errorf("an error for item %d, in that place, among the results for items %d to %d", at, from, from+n-1)
		}
		if e.GetKind() == workerpb.Kind_KIND_UNSPECIFIED {
			return fmt.Errorf("the error of item %d has no kind", at)
		}
		last = at
		b.Errors[at] = wire.FromProto(e)
		if doubt := s.doubt(b, at); doubt != "" {
			return fmt.Errorf("item %d: %s", at, doubt)
		}
		values[at-from] = nil
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
	b.Leaving = b.Leaving || r.GetLeaving()
	if r.GetLast() {
		delete(s.open, b.id)
		s.done[b.id] = true
		b.Took = time.Since(b.sent)
		close(b.over)
	}
	return nil
}

// doubt says why the error of an item cannot be true, as its host would, and nothing if it can be. Called with mu held.
func (s *Stream) doubt(b *Batch, at int) string {
	e := b.Errors[at]
	doubt := e.Doubt(wire.Known{
		Canceled: b.canceled || b.canceledItems[at] || b.order.Drop && b.Needs > 0, Limit: b.order.Timeout, Ran: time.Since(b.sent) - b.timedOut, MaxResult: s.maxResult,
	})
	if e.Kind == wire.Timeout {
		b.timedOut += max(0, b.order.Timeout-wire.ClockSlack)
	}
	return doubt
}

func (s *Stream) split(b *Batch, packed []byte, n int) ([][]byte, error) {
	if b.order.JSON {
		return splitColumn(packed, n, false)
	}
	return splitKind(s.resultKind, packed, n)
}

// settled is the number of items that have an outcome.
func (b *Batch) settled() int { return len(b.Values) }
