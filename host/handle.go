package host

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/parhost/parhost/internal/relay"
)

// Handle is one item under way, modelled on Python's multiprocessing.Process: Start, Wait (join), Cancel (terminate), PID, Done and ExitCode. All methods may
// be called from any goroutine.
type Handle[Out any] struct {
	cancel context.CancelCauseFunc
	pid    atomic.Int64
	done   chan struct{}
	result Result[Out]
	err    error
}

// Start runs one item on the next free worker and returns at once. ctx bounds the run of the item, as in [Typed.Do].
//
// The item occupies a worker until it ends, so the caller should call Wait or Cancel.
func (t *Typed[In, Out]) Start(ctx context.Context, item In) *Handle[Out] {
	h := &Handle[Out]{done: make(chan struct{}), err: &relay.BrokenError{}} // in case a method of In or Out ends the goroutine
	ctx, h.cancel = context.WithCancelCause(ctx)
	go func() {
		defer close(h.done)
		defer h.cancel(errTaken)
		h.result, h.err = do[In, Out](ctx, t.Pool, item, func(w WorkerInfo) { h.pid.Store(int64(w.PID)) })
	}()
	return h
}

// Wait returns the item's result as soon as it is available, with the error of [Typed.Do], or ctx's cause if ctx ends first. It may be called any number
// of times.
func (h *Handle[Out]) Wait(ctx context.Context) (Result[Out], error) {
	select {
	case <-h.done:
		relay.Raise(h.err)
		return h.result, h.err
	case <-ctx.Done():
		return Result[Out]{}, context.Cause(ctx)
	}
}

// Cancel ends the item. It cancels the item's context and, if the item does not end within Config.Grace, ends its worker. Wait then returns an error that
// matches [ErrCanceled], unless the result came before.
func (h *Handle[Out]) Cancel() { h.cancel(ErrCanceled) }

// Done is closed when the item has its outcome.
func (h *Handle[Out]) Done() <-chan struct{} { return h.done }

// PID returns the id of the process in which the item runs, or ran last. It is the host's own in goroutine mode, and 0 while no worker has the item.
func (h *Handle[Out]) PID() int { return int(h.pid.Load()) }

// ExitCode returns the exit code of the item's process. It is 0 if the item is done, or failed without killing its process. It is the exit code of a process
// that died while it ran the item, and -1 if a signal killed the process. ok is false while the item is under way.
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
