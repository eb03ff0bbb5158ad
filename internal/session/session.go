package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/pulse"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// Options configure a session.
type Options struct {
	Start           *workerpb.Start // the first message to the worker
	MaxMessageBytes int             // size limit of one message of the worker, and of one request for credit

	Link  *link.Link    // carries the messages if the worker supports it; nil if there is none
	Grace time.Duration // when the stream or the link has ended, the other must end within this time
	Pulse *pulse.Pulse  // knows for how long this process has not run; may be nil

	// Failing is called at the first sign of the stream's end, which may be some time before [Session.Receive] returns.
	Failing func()
	// Blocked is called before a message about a batch is sent that may have to wait until the worker reads. It gets the context of the call that sends
	// the message. The function that it returns is called when the message has been sent. Blocked may be nil.
	Blocked func(context.Context, *Batch) (sent func())
	// Ignored gets a description of each harmless message that fits no item. An error ends the stream. Ignored may be nil.
	Ignored func(problem string) error
}

// Session is the host's half of one Work stream. Any goroutine may call its methods, except for Receive, which is called once.
type Session struct {
	options Options
	stream  link.Conversation
	linked  *link.Client // equals stream if the worker uses the link; else nil
	cancel  context.CancelFunc
	ready   *workerpb.Ready
	threads int
	sending *semaphore.Weighted // held during Send: a stream takes one message at a time

	mu      sync.Mutex
	batches map[uint64]*Batch
	order   []*Batch // in the order of sending, in which the worker begins them
	lastID  uint64
	closed  bool // no batch can be sent any more
}

// SetupError is the error of a worker that could not set up its workload. Message is the worker's text.
type SetupError struct{ Message string }

func (e *SetupError) Error() string { return e.Message }

// ProtocolError is the error of a worker that broke a rule of the protocol.
type ProtocolError struct{ Problem string }

func (e *ProtocolError) Error() string { return "worker broke the protocol: " + e.Problem }

func problem(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// ErrClosed is the error of [Session.Send] after [Session.Close], which a host calls when the stream has ended.
var ErrClosed = errors.New("the stream has ended")

// Open opens the stream, and returns when the worker has set up its workload. The end of ctx ends the stream. The error is a [*SetupError], or the
// error with which the stream ended.
func Open(ctx context.Context, service workerpb.WorkerServiceClient, o Options) (*Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &Session{
		options: o, cancel: cancel, threads: int(max(1, o.Start.GetThreads())), sending: semaphore.NewWeighted(1), batches: map[uint64]*Batch{},
	}
	if err := s.begin(ctx, service); err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// begin sends Start and waits for Ready.
func (s *Session) begin(ctx context.Context, service workerpb.WorkerServiceClient) error {
	stream, err := service.Work(ctx)
	if err != nil {
		return err
	}
	s.stream = stream
	err = stream.Send(&workerpb.WorkRequest{Message: &workerpb.WorkRequest_Start{Start: s.options.Start}})
	if err != nil && !errors.Is(err, io.EOF) { // io.EOF means that Recv returns the reason
		return err
	}
	r, err := stream.Recv()
	switch {
	case err != nil:
		return err
	case r.GetReady() == nil:
		return fmt.Errorf("the first response is %T, want Ready", r.GetMessage())
	case r.GetReady().GetError() != "":
		return &SetupError{bound.Text(r.GetReady().GetError(), wire.MaxMessageText)}
	}
	s.ready = r.GetReady()
	if s.options.Link != nil && s.ready.GetLink() {
		s.linked = link.NewClient(stream, s.options.Link, s.options.Grace, s.options.Failing, s.cancel)
		s.stream = s.linked
	}
	return nil
}

// Ready returns the worker's first response.
func (s *Session) Ready() *workerpb.Ready { return s.ready }

// Threads returns how many batches the worker can run at once.
func (s *Session) Threads() int { return s.threads }

// Receive handles the worker's messages, and calls the receivers of its batches, until the stream ends. It returns io.EOF if the worker ended the
// stream properly, a [*ProtocolError], or the error of the stream. A message for which ignore returns true is skipped; ignore may be nil.
func (s *Session) Receive(ignore func(*workerpb.WorkResponse) bool) error {
	for {
		r, err := s.stream.Recv()
		switch {
		case err == nil && ignore != nil && ignore(r):
		case err == nil:
			err = s.handle(r)
		case errors.Is(err, link.ErrFrame), errors.Is(err, link.ErrRefused), errors.Is(err, link.ErrTooLarge):
			err = &ProtocolError{err.Error()}
		}
		if err != nil {
			return err
		}
	}
}

// CloseSend tells the worker that no more batches come.
func (s *Session) CloseSend() {
	_ = s.sending.Acquire(context.Background(), 1) // cannot fail, and Options.Blocked watches whoever holds it
	defer s.sending.Release(1)
	_ = s.stream.CloseSend()
}

// Break ends the stream as the death of a host would.
func (s *Session) Break() { s.cancel() }

// Close prevents further calls of Send from sending. No batch joins those of [Session.Held] after it.
func (s *Session) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// Held returns the batches that the worker holds, in the order in which they were sent. The worker may have begun the first ones, as many as it has threads.
func (s *Session) Held() []*Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

// Find returns the batch with an id, or nil if the worker does not hold it.
func (s *Session) Find(id uint64) *Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.batches[id]
}

// Sent returns how many batches have been sent.
func (s *Session) Sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.lastID)
}

// mayRun reports whether the worker may have begun a batch: it is among the first ones that the worker holds, as many as it has threads. Called with mu held.
func (s *Session) mayRun(b *Batch) bool {
	at := slices.Index(s.order, b)
	return at >= 0 && at < s.threads
}

// Progress is the state of a batch at its worker.
type Progress struct {
	Held    bool          // the worker holds the batch
	MayRun  bool          // the worker may have begun the batch, because it is among the first, as many as there are threads
	Waiting bool          // the worker waits for credit
	Done    int           // items that have an outcome
	Silent  time.Duration // time since the worker last reported on the batch, or became able to run it
	Others  bool          // the worker holds other batches too
}

// Progress returns the state of a batch at its worker.
func (s *Session) Progress(b *Batch) Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Progress{
		Held: s.batches[b.id] == b, MayRun: s.mayRun(b), Waiting: b.waiting, Done: b.done,
		Silent: s.options.Pulse.Since(b.heard), Others: len(s.order) > 1,
	}
}
