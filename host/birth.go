package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/internal/session"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// open begins the stream and waits for the workload's set-up. ctx bounds the start; the set-up has a limit of its own.
func (p *process) open(ctx context.Context) error {
	p.threads = p.cfg.Threads
	if p.threads == 0 {
		p.threads = int(max(1, p.manifest.GetThreads()))
	}
	if p.manifest.GetNotConcurrent() {
		p.threads = 1 // more would only wait for one another, and look as if they hung
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel = cancel
	var late atomic.Bool
	// Before anything is said: a worker can hold up the opening of the stream too, and the first message.
	unlimit := p.cfg.pulse.AfterFunc(p.cfg.SetupTimeout, func() {
		late.Store(true)
		cancel()
	})
	stop := context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) { // the start's deadline does not hold for the set-up
			cancel()
		}
	})
	work, err := session.Open(life, p.service, session.Options{
		Start: &workerpb.Start{
			Worker: uint32(p.number), Threads: uint32(p.threads), MaxResultBytes: uint64(p.cfg.MaxResultBytes), SetupTimeoutNs: uint64(p.cfg.SetupTimeout),
		},
		MaxMessageBytes: p.cfg.messageBytes(), Link: p.link, Grace: p.cfg.Grace, Pulse: p.cfg.pulse, Failing: p.fail,
		Blocked: func(ctx context.Context, b *session.Batch) func() { return p.watchSend(ctx, b.Receiver.(*call)) },
	})
	stop()
	unlimit()
	switch {
	case late.Load():
		return fmt.Errorf("not done after %v (Config.SetupTimeout)", p.cfg.SetupTimeout)
	case err != nil:
		return err
	}
	p.child.MarkReady()
	p.shared = p.shelf != nil && work.Ready().GetArena()
	if p.looks = p.buffers.memory != nil && work.Ready().GetBuffers(); p.looks {
		p.buffers.mapped.Store(true)
	}
	p.mu.Lock()
	p.session = work
	p.mu.Unlock()
	p.read.Go(p.receive)
	return nil
}

// stillborn ends a worker whose start failed, and says why.
func (p *process) stillborn(ctx context.Context, stage string, err error) error {
	s, isStatus := status.FromError(err)
	isStatus = isStatus && s.Code() != codes.OK
	ended := stage == "set-up" && errors.Is(err, io.EOF)
	unheard := ended || isStatus && s.Code() == codes.Unavailable
	if unheard {
		p.child.AwaitEnd(child.EndTime) // by itself, if it does; it is killed otherwise
	}
	p.bury()
	p.shelf.close()
	p.mu.Lock()
	f := p.fate
	p.mu.Unlock()
	e := &StartError{Worker: p.number, Plugin: p.cfg.Plugin, Stage: stage, Err: err, Stderr: p.child.LastOutput(0)}
	if p.manifest != nil {
		e.Manifest = manifestOf(p.manifest)
	}
	var words string
	if p.child.EndedItself() {
		d := p.child.Death(false)
		e.Cause, words = d.Cause, d.Message
	}
	switch {
	case ctx.Err() != nil:
		e.Err = context.Cause(ctx)
	case f != nil:
		e.Err, e.Cause = errors.New(f.message), cmp.Or(f.cause, e.Cause)
	case words != "" && (unheard || e.Cause != CauseExit && e.Cause != CauseSignal):
		e.Err = errors.New(words)
	case ended:
		e.Err = errors.New(streamWords(err))
	case isStatus:
		e.Err = errors.New(rpcWords(err))
	case stage == "exec" && errors.Is(err, syscall.EAGAIN): // of fork(2)
		e.Err = fmt.Errorf("%w%s", err, child.TasksLimit())
	}
	return e
}
