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

	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/pulse"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// Options say how a host talks to a worker.
type Options struct {
	Start           *workerpb.Start // the first message
	MaxMessageBytes int             // of one message of the worker, and so the most credit that it may ask for at once

	Link  *link.Link    // carries the messages if the worker takes it; nil if there is none
	Grace time.Duration // that the stream has to end once the link has ended, and the other way round
	Pulse *pulse.Pulse  // times without which this process ran; may be nil

	// Failing is called at the first sign of the stream's end, which may come some time before [Session.Receive] returns.
	Failing func()
	// Blocked is called when a message about a batch may have to wait until the worker reads, with the context that the message is sent under. The function
	// that it returns is called when the message has been sent. Blocked may be nil.
	Blocked func(context.Context, *Batch) (sent func())
	// Ignored gets what the worker said that fits no item and does no harm. An error ends the stream. Ignored may be nil.
	Ignored func(problem string) error
}

// Session is a host's half of one Work stream. Its methods may be called by any goroutine, except for Receive, which is called once.
type Session struct {
	options Options
	stream  link.Conversation
	linked  *link.Client // the stream, if the worker takes the link
	cancel  context.CancelFunc
	ready   *workerpb.Ready
	threads int
	sending *semaphore.Weighted // a stream takes one Send at a time

	mu      sync.Mutex
	batches map[uint64]*Batch
	order   []*Batch // as sent, which is the order in which the worker begins them
	lastID  uint64
	closed  bool // no batch is taken any more
}

// SetupError is the error of a worker whose workload could not be set up, in the worker's words.
type SetupError struct{ Message string }

func (e *SetupError) Error() string { return e.Message }

// ProtocolError is the error of a worker that broke a rule of the protocol.
type ProtocolError struct{ Problem string }

func (e *ProtocolError) Error() string { return "worker broke the protocol: " + e.Problem }

func problem(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// ErrClosed is the error of a batch that cannot be sent, because the stream has ended.
var ErrClosed = errors.New("the stream has ended")

// Open begins the stream and returns when the worker's workload has been set up. ctx ends the stream. The error is a [*SetupError], or whatever the
// stream ended with.
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
	if err != nil && !errors.Is(err, io.EOF) { // EOF: Recv knows why
		return err
	}
	r, err := stream.Recv()
	switch {
	case err != nil:
		return err
	case r.GetReady() == nil:
		return fmt.Errorf("the first response is %T, want Ready", r.GetMessage())
	case r.GetReady().GetError() != "":
		return &SetupError{wire.Bound(r.GetReady().GetError(), wire.MaxMessageText)}
	}
	s.ready = r.GetReady()
	if s.options.Link != nil && s.ready.GetLink() {
		s.linked = link.NewClient(stream, s.options.Link, s.options.Grace, s.options.Failing, s.cancel)
		s.stream = s.linked
	}
	return nil
}

// Ready is the worker's first response.
func (s *Session) Ready() *workerpb.Ready { return s.ready }

// Threads is how many batches the worker runs at once.
func (s *Session) Threads() int { return s.threads }

// Receive takes what the worker says, and calls the receivers of its batches, until the stream ends. It returns why: io.EOF if the worker ended it in
// good order, a [*ProtocolError], or the error of the stream. ignore reports which messages are not looked at; it may be nil.
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
	_ = s.sending.Acquire(context.Background(), 1) // cannot fail; who holds it is watched by Options.Blocked
	defer s.sending.Release(1)
	_ = s.stream.CloseSend()
}

// Break ends the stream in the way that the death of a host does.
func (s *Session) Break() { s.cancel() }

// Close lets no batch be sent any more. From then on [Session.Held] returns the batches that the worker held at this moment.
func (s *Session) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// Held returns the batches that the worker holds, in the order in which they were sent. It may have begun the first ones, as many as it has threads.
func (s *Session) Held() []*Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

// Find returns the batch with an id, nil if the worker does not hold it.
func (s *Session) Find(id uint64) *Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.batches[id]
}

// Sent is how many batches have been sent.
func (s *Session) Sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.lastID)
}

// mayRun reports whether the worker may have begun a batch: it is among the first that the worker holds, as many as the worker has threads. Called with mu held.
func (s *Session) mayRun(b *Batch) bool {
	at := slices.Index(s.order, b)
	return at >= 0 && at < s.threads
}

// Progress is how far a worker is with a batch.
type Progress struct {
	Held    bool          // the worker holds the batch
	MayRun  bool          // the worker may have begun it, because it runs so many at once
	Waiting bool          // the worker waits for credit
	Done    int           // items that have an outcome
	Silent  time.Duration // how long the worker has said nothing about the batch since it may run
	Others  bool          // the worker holds other batches too
}

// Progress says how far the worker is with a batch.
func (s *Session) Progress(b *Batch) Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Progress{
		Held: s.batches[b.id] == b, MayRun: s.mayRun(b), Waiting: b.waiting, Done: b.done,
		Silent: s.options.Pulse.Since(b.heard), Others: len(s.order) > 1,
	}
}
