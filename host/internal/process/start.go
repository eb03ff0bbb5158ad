package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/session"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/protocol"
)

// StartError says at which stage the start of a worker failed, and why.
type StartError struct {
	Worker   int
	Stage    string // exec, sandbox, handshake, dial, describe or set-up
	Err      error
	Cause    protocol.Cause     // cause of the process's death; empty if it did not die
	Stderr   []string           // last lines that the process wrote
	Manifest *workerpb.Manifest // manifest of the worker's workload; nil if it is not known
}

func (e *StartError) Error() string { return e.Stage + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// CheckManifest checks a plugin's manifest, before the host uses any of it.
func CheckManifest(m *workerpb.Manifest) error {
	if m == nil {
		return errors.New("the plugin sent no manifest")
	}
	if err := wire.CheckManifest(m); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	return nil
}

// Start starts the worker with the given number, in a pool of this many workers, and returns it ready for items. On an error, a [*StartError], nothing of the
// worker is left.
func (l *Launcher) Start(ctx context.Context, number, workers int) (*Worker, error) {
	w, err := l.Connect(ctx, number, workers, l.options.Inline)
	if err != nil {
		return nil, err
	}
	if err := w.setUp(ctx); err != nil {
		return nil, w.failStart(ctx, "set-up", err)
	}
	return w, nil
}

// Late returns the error of a start that takes too long.
func (l *Launcher) Late() error {
	return fmt.Errorf("not done after %v (Config.StartTimeout)", l.options.StartTimeout)
}

// Connect starts a worker and asks for its manifest. It returns the worker before its set-up. With inline, nothing goes through shared memory or channels. On
// an error, a [*StartError], nothing of the worker is left.
func (l *Launcher) Connect(ctx context.Context, number, workers int, inline bool) (_ *Worker, err error) {
	o := &l.options
	w := &Worker{options: o, number: number, failing: make(chan struct{}), gone: make(chan struct{}), logger: o.Logger.Named(o.Plugin).With("worker", number)}
	settings := child.Settings{Number: number, Env: o.CPUShare(workers), Logger: w.logger, Item: w.attribute, Flooded: w.flooded}
	if !inline {
		if w.arena = openArena(arenaSize(max(workers, o.Workers)), max(keepLeast, keepBytes/workers)); w.arena != nil {
			settings.Inherit(wire.EnvArena, true, w.arena.file)
		}
		if o.BuffersFile != nil {
			settings.Inherit(wire.EnvBuffers, true, o.BuffersFile)
		}
		if own, in, out, err := link.New(o.MaxMessageBytes); err == nil { // without a link, the gRPC stream carries all messages
			own.Check = o.CheckResponse
			if o.Poll {
				own.Soon, own.MayPoll = w.answersSoon, w.mayPoll
			}
			w.link = own
			settings.Inherit(wire.EnvLink, false, in, out)
			if rings, err := own.Offer(); err == nil && rings != nil { // without rings, the channels carry all messages
				settings.Inherit(wire.EnvRings, false, rings...)
			}
		}
	}
	w.child = l.Children.New(settings)
	w.client = l.client(w.child)
	stage := "exec"
	end, err := l.waitToStart(ctx)
	if err != nil {
		return nil, w.failStart(ctx, stage, err)
	}
	defer end()
	late := l.Late()
	start, cancel := o.Pulse.WithTimeout(ctx, l.options.StartTimeout, late)
	defer func() {
		if err != nil {
			if errors.Is(context.Cause(start), late) && stage != "handshake" {
				err = late
			}
			err = w.failStart(ctx, stage, err)
		}
		cancel()
	}()
	switch err := l.Children.Folder.Reach(); { // go-plugin makes a folder in it
	case errors.Is(err, syscall.EXDEV):
		return nil, fmt.Errorf("something has been mounted over %q, the folder of sockets", l.Children.Folder.Path())
	case err != nil:
		return nil, fmt.Errorf("look at the folder of sockets: %w", err)
	}
	// go-plugin's Start holds its lock until its own timeout. Only killing the process ends it sooner.
	stop := context.AfterFunc(start, w.child.KillNow)
	defer stop()
	if _, err = guarded(w.client.Start); err != nil {
		if refused := w.child.Refused(); refused != nil {
			err = refused
			if !errors.As(err, new(*sandbox.ChangedError)) {
				stage = "sandbox"
			}
		} else if w.child.Spawned() {
			stage = "handshake"
			err = w.child.HandshakeError(start, l.options.StartTimeout, err)
		}
		return nil, err
	}
	stage = "dial"
	protocol, err := guarded(w.client.Client)
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(wire.PluginName)
	if err != nil {
		return nil, err
	}
	stage = "describe"
	service := raw.(workerpb.WorkerServiceClient)
	// The call has no deadline: gRPC would tell the worker the deadline, and the worker's answer to it might arrive before the host's own timer fires.
	call, hangUp := context.WithCancel(context.WithoutCancel(start))
	defer hangUp()
	defer context.AfterFunc(start, hangUp)()
	answer, err := service.Describe(call, &workerpb.DescribeRequest{})
	if err != nil {
		return nil, err
	}
	if err = CheckManifest(answer.GetManifest()); err != nil {
		return nil, err
	}
	if want, got := o.Workload, answer.GetManifest().GetName(); want != "" && got != want { // a plugin with one workload ignores the name
		err = fmt.Errorf("it has no workload named %q: its only one is %q", want, got)
		return nil, err
	}
	if err = w.child.Recheck(); err != nil {
		stage = "exec"
		return nil, err
	}
	w.manifest, w.service, w.pid, w.started = answer.GetManifest(), service, w.child.PID(), w.child.Started()
	if !stop() {
		return nil, context.Cause(start)
	}
	return w, nil
}

// setUp opens the stream and waits for the workload's set-up. ctx bounds the start; the set-up has a separate limit.
func (w *Worker) setUp(ctx context.Context) error {
	o := w.options
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.cancel = cancel
	var late atomic.Bool
	// The timer starts before the stream is opened, because a worker can also block the opening of the stream and the first message.
	unlimit := o.Pulse.AfterFunc(o.SetupTimeout, func() {
		late.Store(true)
		cancel()
	})
	stop := context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) { // the start's deadline does not apply to the set-up
			cancel()
		}
	})
	work, err := session.Open(life, w.service, session.Options{
		Start: &workerpb.Start{
			Worker: uint32(w.number), Threads: uint32(w.threads()), MaxResultBytes: uint64(o.MaxResultBytes), SetupTimeoutNs: uint64(o.SetupTimeout),
		},
		MaxMessageBytes: o.MaxMessageBytes, Link: w.link, Grace: o.Grace, Pulse: o.Pulse, Failing: w.fail,
		Blocked: func(ctx context.Context, b *session.Batch) func() { return w.watchSend(ctx, b.Receiver.(*call)) },
	})
	stop()
	unlimit()
	switch {
	case late.Load():
		return fmt.Errorf("not done after %v (Config.SetupTimeout)", o.SetupTimeout)
	case err != nil:
		return err
	}
	w.child.MarkReady()
	w.shared = w.arena != nil && work.Ready().GetArena()
	if w.buffers = o.Buffers != nil && work.Ready().GetBuffers(); w.buffers {
		o.BuffersUsed()
	}
	w.mu.Lock()
	w.session = work
	w.mu.Unlock()
	w.reading.Go(w.receive)
	return nil
}

// threads returns how many batches the worker is to run at once.
func (w *Worker) threads() int {
	switch {
	case w.manifest.GetNotConcurrent(): // more batches would only wait for one another, and look as if they hung
		return 1
	case w.options.Threads > 0:
		return w.options.Threads
	default:
		return int(max(1, w.manifest.GetThreads()))
	}
}

// failStart ends a worker whose start failed, and returns an error that says why.
func (w *Worker) failStart(ctx context.Context, stage string, err error) error {
	s, isStatus := status.FromError(err)
	isStatus = isStatus && s.Code() != codes.OK
	ended := stage == "set-up" && errors.Is(err, io.EOF)
	unheard := ended || isStatus && s.Code() == codes.Unavailable
	if unheard {
		w.child.AwaitEnd(child.EndTime) // wait a little for the process to end by itself; bury kills it otherwise
	}
	w.bury()
	w.arena.close()
	w.mu.Lock()
	k := w.kill
	w.mu.Unlock()
	e := &StartError{Worker: w.number, Stage: stage, Err: err, Stderr: w.child.LastOutput(0), Manifest: w.manifest}
	var words string
	if w.child.EndedItself() {
		d := w.child.Death(false)
		e.Cause, words = d.Cause, d.Message
	}
	switch {
	case ctx.Err() != nil:
		e.Err = context.Cause(ctx)
	case k != nil:
		e.Err, e.Cause = errors.New(k.message), cmp.Or(k.cause, e.Cause)
	case words != "" && (unheard || e.Cause != protocol.CauseExit && e.Cause != protocol.CauseSignal):
		e.Err = errors.New(words)
	case ended:
		e.Err = errors.New(streamWords(err))
	case isStatus:
		e.Err = errors.New(rpcWords(err))
	case stage == "exec" && errors.Is(err, syscall.EAGAIN): // from fork(2)
		e.Err = fmt.Errorf("%w%s", err, child.TasksLimit())
	}
	return e
}

// Describe asks the worker for the manifest with its schemas.
func (w *Worker) Describe(ctx context.Context) (*workerpb.Manifest, error) {
	answer, err := w.service.Describe(ctx, &workerpb.DescribeRequest{Schemas: true})
	if err == nil {
		err = CheckManifest(answer.GetManifest())
	}
	return answer.GetManifest(), err
}

// FailDescribe ends a worker that did not answer Describe, and returns an error that says why.
func (w *Worker) FailDescribe(ctx context.Context, err error) error {
	return w.failStart(ctx, "describe", err)
}

// Probe is a worker that has a manifest but no set-up. It is for checks that open the worker's stream themselves.
type Probe struct {
	Service workerpb.WorkerServiceClient
	Link    *link.Link // nil if the worker has no link
	Gone    <-chan struct{}
	Kill    func()        // ends the worker and returns when nothing of it is left
	Death   func() string // how the worker ended, in words, once it is gone
}

// Probe hands over a worker that has not been set up.
func (w *Worker) Probe() Probe {
	return Probe{Service: w.service, Link: w.link, Gone: w.child.Exited(), Kill: w.bury, Death: w.lastWords}
}

// Bury ends a worker that has not been set up, and returns when nothing of it is left.
func (w *Worker) Bury() { w.bury() }

// lastWords says how the process ended, and quotes its last output.
func (w *Worker) lastWords() string {
	words, _, _ := w.child.LastState()
	if lines := w.child.LastOutput(100 * time.Millisecond); len(lines) > 0 {
		words += fmt.Sprintf("; stderr: %q", strings.Join(lines, "\n"))
	}
	return words
}
