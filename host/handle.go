package host

import (
	"context"
	"errors"
	"sync/atomic"
)

// Handle is one item under way, in the manner of Python's multiprocessing.Process: Start, Wait (join), Cancel (terminate), PID,
// Done and ExitCode. All methods may be called from any goroutine.
type Handle[Out any] struct {
	cancel context.CancelCauseFunc
	pid    atomic.Int64
	done   chan struct{}
	value  Out
	err    error
}

// Start runs one item on the next free worker and returns at once. ctx bounds the run of the item as it does that of [Do].
//
// Somebody should Wait, or Cancel: until then the item holds a worker.
func Start[In, Out any](ctx context.Context, p *Pool, item In) *Handle[Out] {
	h := &Handle[Out]{done: make(chan struct{})}
	ctx, h.cancel = context.WithCancelCause(ctx)
	go func() {
		defer close(h.done)
		defer h.cancel(errTaken)
		h.value, h.err = do[In, Out](ctx, p, item, func(w WorkerInfo) { h.pid.Store(int64(w.PID)) })
	}()
	return h
}

// Wait returns the item's result when it is there, or ctx's cause if ctx ends first. It may be called any number of times.
func (h *Handle[Out]) Wait(ctx context.Context) (Out, error) {
	select {
	case <-h.done:
		return h.value, h.err
	case <-ctx.Done():
		return *new(Out), context.Cause(ctx)
	}
}

// Cancel ends the item: its context first, then, if that does not help within Config.Grace, its worker. Wait then returns an
// error that matches [ErrCanceled], unless the result had come before.
func (h *Handle[Out]) Cancel() { h.cancel(ErrCanceled) }

// Done is closed when the item has its outcome.
func (h *Handle[Out]) Done() <-chan struct{} { return h.done }

// PID is the process in which the item runs, or ran last: the host's own in goroutine mode, 0 while no worker has it.
func (h *Handle[Out]) PID() int { return int(h.pid.Load()) }

// ExitCode is how the item's process fared: 0 if the item is done, or failed without harm to its process; the exit code of a
// process that died on it, -1 if a signal did. ok is false while the item is under way.
func (h *Handle[Out]) ExitCode() (code int, ok bool) {
	select {
	case <-h.done:
	default:
		return 0, false
	}
	if e, failed := errors.AsType[*ItemError](h.err); failed {
		return e.ExitCode, true
	}
	return 0, true
}
