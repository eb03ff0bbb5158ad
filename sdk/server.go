package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/pulse"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/internal/work"
)

// queueLength is the number of batches that may wait in a worker. The host's window is far smaller.
const queueLength = 4096

// server serves one workload over one stream.
type server struct {
	workerpb.UnimplementedWorkerServiceServer
	workload *erased
	logger   hclog.Logger
	grpc     *grpc.Server
	arena    *arena.Arena   // nil without shared memory
	buffers  *arena.Buffers // nil without buffers
	link     *link.Link     // nil if all messages go through gRPC
	stderr   *os.File       // the real stderr, before go-plugin replaces it by a pipe; nil if the worker shares its process, as in tests

	pulse *pulse.Pulse // nil until a batch has an item timeout; only receive uses it

	opened  atomic.Bool
	leaving atomic.Bool // no further item may begin

	terminating atomic.Bool // the process must end
	orphaned    atomic.Bool // the stream broke: the host is gone
	leaveOnce   sync.Once   // guards the close of left

	send struct {
		sync.Mutex
		stream conversation
	}
	jobs struct {
		sync.Mutex
		byID map[uint64]*batch
	}
	left chan struct{} // closed when the worker is terminating and all its batches have ended
}

// conversation carries messages from and to the host: it is either gRPC's stream or the link, which bypasses gRPC.
type conversation interface {
	Send(*workerpb.WorkResponse) error
	Recv() (*workerpb.WorkRequest, error)
	Context() context.Context
}

var (
	_ conversation = workerpb.WorkerService_WorkServer(nil)
	_ conversation = (*link.Server)(nil)
)

func newServer(w *erased, logger hclog.Logger) *server {
	s := &server{workload: w, logger: logger, stderr: os.Stderr}
	s.left = make(chan struct{})
	s.jobs.byID = map[uint64]*batch{}
	return s
}

// Describe serves the manifest to the host. The error has code Internal if an example or a schema cannot be encoded.
func (s *server) Describe(_ context.Context, req *workerpb.DescribeRequest) (*workerpb.DescribeResponse, error) {
	m, err := s.workload.describe(req.GetSchemas())
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &workerpb.DescribeResponse{Manifest: m}, nil
}

// Stack returns the stacks of all goroutines of this process.
func (s *server) Stack(context.Context, *workerpb.StackRequest) (*workerpb.StackResponse, error) {
	text := make([]byte, wire.MaxStacks)
	return &workerpb.StackResponse{Text: text[:runtime.Stack(text, true)]}, nil
}

// Work runs the batches that arrive on the stream until the host closes its side, then tears the workload down. A worker serves only one Work stream;
// a second one gets FailedPrecondition.
func (s *server) Work(stream workerpb.WorkerService_WorkServer) error {
	if !s.opened.CompareAndSwap(false, true) {
		return status.Error(codes.FailedPrecondition, "a worker serves one Work stream in its life")
	}
	defer func() { go s.stop() }()
	s.restoreOutput()
	s.speakOver(stream)

	req, err := stream.Recv()
	if err != nil {
		return err
	}
	start := req.GetStart()
	if start == nil {
		return status.Error(codes.InvalidArgument, "the first request is not a Start")
	}
	var lock *sync.Mutex
	if s.workload.manifest.NotConcurrent {
		lock = new(sync.Mutex)
	}
	logger := s.logger.With("worker", start.GetWorker())
	instance, err := s.setUp(work.WithLogger(stream.Context(), logger), lock, time.Duration(min(start.GetSetupTimeoutNs(), math.MaxInt64)))
	if err != nil {
		return s.respond(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Ready{Ready: &workerpb.Ready{Error: bound.Text(err.Error(), wire.MaxMessageText)}}})
	}
	if err := s.respond(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Ready{Ready: &workerpb.Ready{Arena: s.arena != nil, Buffers: s.buffers != nil, Link: s.link != nil, Recall: true}}}); err != nil {
		return err
	}
	messages := conversation(stream)
	if s.link != nil {
		defer s.link.Close() // closed after the teardown, because the end of the link tells the host that nothing more will come
		messages = link.NewServer(stream, s.link)
		s.speakOver(messages)
	}
	received := make(chan error, 1)
	go func() { received <- s.receive(messages, instance, start, logger) }()
	select {
	case err = <-received:
	case <-s.left: // err is nil: a stream that ends without an error tells the host that its last batches were not begun
	}
	s.orphaned.Store(err != nil)
	s.speakOver(nil)
	if err := instance.Close(work.WithLogger(context.WithoutCancel(stream.Context()), logger)); err != nil {
		s.logger.Warn("teardown", "worker", start.GetWorker(), "err", err)
	}
	return err
}

// speakOver makes messages the stream on which respond sends from now on. With nil, respond sends nothing any more.
func (s *server) speakOver(messages conversation) {
	s.send.Lock()
	defer s.send.Unlock()
	s.send.stream = messages
}

// hangUp stops all sending and closes the link: a host that still listens learns that this worker is lost.
func (s *server) hangUp() {
	s.speakOver(nil)
	if s.link != nil {
		s.link.Close()
	}
}

// receive passes batches to the threads. It returns nil when the host has closed its side and all batches have ended, and an error if the stream
// broke.
func (s *server) receive(messages conversation, instance work.Instance, start *workerpb.Start, logger hclog.Logger) error {
	queue := make(chan waiting, queueLength)
	var threads sync.WaitGroup
	for n := range max(1, start.GetThreads()) {
		threads.Go(func() { s.thread(messages.Context(), instance, queue, s.arena.Entry(int(n))) })
	}
	defer threads.Wait()
	defer close(queue)
	defer func() { s.pulse.Stop() }()
	for {
		req, err := messages.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			s.hangUp() // nobody canceled these items, so the host must not hear that they were canceled
			s.cancelAll()
			return err
		}
		switch m := req.GetMessage().(type) {
		case *workerpb.WorkRequest_Batch:
			held := newBatch(m.Batch)
			if held.job, err = s.job(m.Batch, held, start, logger); err != nil {
				return status.Error(codes.InvalidArgument, err.Error())
			}
			s.jobs.Lock()
			s.jobs.byID[held.id] = held
			s.jobs.Unlock()
			queue <- waiting{held, deadlineOf(m.Batch)}
		case *workerpb.WorkRequest_Credit:
			s.jobs.Lock()
			held := s.jobs.byID[m.Credit.GetBatch()]
			s.jobs.Unlock()
			if held != nil { // otherwise the batch ended while the credit was on its way
				held.give(m.Credit)
			}
		case *workerpb.WorkRequest_Recall:
			s.jobs.Lock()
			held := s.jobs.byID[m.Recall.GetBatch()]
			s.jobs.Unlock()
			s.recall(held)
		case *workerpb.WorkRequest_Cancel:
			s.cancel(m.Cancel)
		}
	}
}

// setUp opens the workload. The host chose the limit and enforces it too; 0 means no limit. The error names Config.SetupTimeout if the limit has
// passed.
func (s *server) setUp(ctx context.Context, lock *sync.Mutex, limit time.Duration) (work.Instance, error) {
	if limit > 0 {
		running := pulse.Start() // time in which this process is stopped or frozen does not count towards the limit
		defer running.Stop()
		var cancel context.CancelFunc
		ctx, cancel = running.WithTimeout(ctx, limit, context.DeadlineExceeded)
		defer cancel()
	}
	instance, err := s.workload.core.Open(ctx, lock)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("not done after %v (Config.SetupTimeout): %w", limit, err)
	}
	return instance, err
}

// waiting is a batch that waits for a thread.
type waiting struct {
	*batch
	deadline time.Time // of the run that the batch belongs to; zero if there is none
}

// deadlineOf returns when the caller of a batch's run gives up on it, or the zero time if never.
func deadlineOf(b *workerpb.Batch) time.Time {
	if b.GetDeadlineUnixNs() == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(min(b.GetDeadlineUnixNs(), math.MaxInt64)))
}

// thread runs one batch after the other and keeps its entry in the black box up to date. entry is nil if there is no arena, or no room in it for this
// thread. An item that calls runtime.Goexit ends this goroutine; the worker is then leaving.
func (s *server) thread(ctx context.Context, instance work.Instance, queue <-chan waiting, entry *arena.Entry) {
	for next := range queue {
		if !next.taken.CompareAndSwap(false, true) {
			continue // it has been recalled
		}
		if s.leaving.Load() {
			next.job.Report(work.Part{Last: true, Leaving: true})
			continue
		}
		func() {
			done := false
			defer func() {
				if !done { // runtime.Goexit continues after this function returns; the batches that wait still need an answer
					s.thread(ctx, instance, queue, entry)
				}
			}()
			if entry != nil {
				entry.Begin(next.id)
				next.job.Show(entry.Place())
				defer entry.End()
			}
			if next.job.InBuffers != nil {
				// The buffers are mapped read-only: a workload that writes to such an item then panics, and the other items go on. The setting
				// applies to this goroutine only.
				defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
			}
			run := ctx
			if !next.deadline.IsZero() {
				var cancel context.CancelFunc
				run, cancel = context.WithDeadline(ctx, next.deadline)
				defer cancel()
			}
			instance.Run(run, next.job)
			done = true
			runtime.Gosched() // with one CPU, the results would otherwise wait in gRPC's writer until the next batch is done
		}()
	}
}

// job turns a batch into a job that reports its parts over the stream. The error says that a place in shared memory is invalid or that a count does
// not match.
func (s *server) job(b *workerpb.Batch, held *batch, start *workerpb.Start, logger hclog.Logger) (*work.Job, error) {
	j := &work.Job{
		First:     int(b.GetFirst()),
		Count:     int(b.GetCount()),
		Format:    work.Packed,
		Items:     b.GetItems(),
		Timeout:   time.Duration(b.GetItemTimeoutNs()),
		Budget:    time.Duration(b.GetBudgetNs()),
		Timed:     b.GetTimed(),
		Usage:     b.GetUsage() && start.GetThreads() <= 1,
		Alone:     b.GetAlone(),
		Seed:      b.Seed,
		SeedIndex: b.GetSeedIndex(),
		MaxResult: int(start.GetMaxResultBytes()),
		Metadata:  b.GetMetadata(),
		Logger:    logger,
		OnProgress: func(item int, fraction float64) {
			_ = s.respond(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Progress{
				Progress: &workerpb.Progress{Batch: b.GetId(), Item: uint32(item), Fraction: fraction},
			}})
		},
		OnOverdue: func(item int) {
			_ = s.respond(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Overdue{
				Overdue: &workerpb.Overdue{Batch: b.GetId(), Item: uint32(item)},
			}})
		},
		Report: func(p work.Part) { s.report(held, p) },
	}
	if j.Timeout > 0 {
		if s.pulse == nil {
			s.pulse = pulse.Start()
		}
		j.Pulse = s.pulse
	}
	if b.GetFormat() == workerpb.Format_FORMAT_JSON {
		j.Format = work.JSON
	}
	if n := len(b.GetSeedIndex()); n != 0 && n != j.Count {
		return nil, fmt.Errorf("seed_index has %d numbers for %d items", n, j.Count)
	}
	var err error
	if b.GetItemsSize() > 0 {
		if j.Items, err = s.arena.Bytes(b.GetItemsOffset(), b.GetItemsSize()); err != nil {
			return nil, err
		}
	}
	if len(b.GetBufferAt()) > 0 {
		if j.InBuffers, err = s.inBuffers(b); err != nil {
			return nil, err
		}
		j.ReadOnly = s.buffers.Hold
	}
	if b.GetRoomSize() > 0 {
		j.Room, err = s.arena.Bytes(b.GetRoomOffset(), b.GetRoomSize())
	}
	return j, err
}

// inBuffers returns the items of a batch that lie in the pool's buffers. The error says that a place or a count is invalid.
func (s *server) inBuffers(b *workerpb.Batch) ([][]byte, error) {
	at, size := b.GetBufferAt(), b.GetBufferSize()
	if n := int(b.GetCount()); len(at) != n || len(size) != n {
		return nil, fmt.Errorf("%d places and %d sizes of %d items in buffers", len(at), len(size), n)
	}
	items := make([][]byte, len(at))
	for i := range items {
		if size[i] == 0 {
			continue // an empty item has no place in a buffer
		}
		var err error
		if items[i], err = s.buffers.Bytes(at[i], size[i]); err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
	}
	return items, nil
}

// report sends one part of a batch's results once the host has room for it. Results that the host refuses are sent as canceled items.
func (s *server) report(b *batch, p work.Part) {
	if p.Leaving {
		s.leaving.Store(true)
	}
	r := &workerpb.Results{
		Batch: b.id, From: uint32(p.From), Count: uint32(p.Count), Values: p.Values, RoomAt: uint64(p.RoomAt), RoomUsed: uint64(p.RoomUsed),
		ItemNs: p.ItemNS, RunNs: p.RunNS, Last: p.Last, Leaving: s.leaving.Load(),
	}
	for _, u := range p.Usage {
		r.ItemUsage = append(r.ItemUsage, &workerpb.Usage{
			UserNs: uint64(u.User), SystemNs: uint64(u.System), VoluntarySwitches: uint64(u.Voluntary), ForcedSwitches: uint64(u.Forced),
		})
		r.MaxRssBytes = uint64(u.MaxRSS)
	}
	for i, e := range p.Errors {
		r.Errors = append(r.Errors, wire.ErrorToProto(e, p.Places[i]))
	}
	if !s.pay(b, r) {
		s.withhold(b, r)
	}
	_ = s.respond(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Results{Results: r}}) // if the stream is broken, receive returns the error
	if p.Last {
		s.jobs.Lock()
		delete(s.jobs.byID, b.id)
		s.jobs.Unlock()
		s.mayLeave()
	}
}

func (s *server) respond(r *workerpb.WorkResponse) error {
	s.send.Lock()
	defer s.send.Unlock()
	if s.send.stream == nil {
		return io.ErrClosedPipe
	}
	return s.send.stream.Send(r)
}

func (s *server) cancel(c *workerpb.Cancel) {
	s.jobs.Lock()
	b := s.jobs.byID[c.GetBatch()]
	s.jobs.Unlock()
	switch {
	case b == nil: // the batch has ended already
	case c.Item == nil:
		b.all = true
		b.cancel()
	default:
		b.job.Cancel(int(c.GetItem()))
	}
}

func (s *server) cancelAll() {
	s.jobs.Lock()
	defer s.jobs.Unlock()
	for _, b := range s.jobs.byID {
		b.cancel()
	}
}

// leave ends the worker after SIGTERM: running items finish, the host gets the others back, and then the stream closes.
func (s *server) leave() {
	s.leaving.Store(true)
	s.jobs.Lock()
	for _, b := range s.jobs.byID {
		b.job.HandBack()
	}
	s.jobs.Unlock()
	s.terminating.Store(true)
	s.mayLeave()
}

// mayLeave lets Work return if leave was called and all batches have ended.
func (s *server) mayLeave() {
	s.jobs.Lock()
	defer s.jobs.Unlock()
	if s.terminating.Load() && len(s.jobs.byID) == 0 {
		s.leaveOnce.Do(func() { close(s.left) })
	}
}

// restoreOutput undoes what go-plugin did to the standard streams: it replaced them by pipes that nobody reads, so a workload that prints would block
// for ever once they are full.
func (s *server) restoreOutput() {
	if s.stderr == nil {
		return
	}
	os.Stdout, os.Stderr = s.stderr, s.stderr
	stdoutToStderr()
	forgetLaunch()
}

// grpcPlugin is the worker service in the form that go-plugin expects.
type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server *server
}

func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, g *grpc.Server) error {
	workerpb.RegisterWorkerServiceServer(g, p.server)
	return nil
}

func (p *grpcPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin is not its own host")
}
