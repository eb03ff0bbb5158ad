package process

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/protocol"
)

// What a host asks of a worker while it runs items.

// CancelItem implements [worker.Worker]. If the item does not end within the grace period, its worker is killed for it.
func (w *Worker) CancelItem(place int) bool {
	c, item := w.find(place)
	if c == nil {
		return false
	}
	w.endItem(c, item, &kill{kind: protocol.KindCanceled, message: fmt.Sprintf("killed: the item was canceled and went on for %v", w.options.Grace)}, w.killFor)
	return true
}

// endItem cancels an item, and kills the worker for it if the item does not end within the grace period.
func (w *Worker) endItem(c *call, item int, k *kill, end func(*kill)) {
	place := c.base + item
	k.call, k.item = c, &place
	var sent atomic.Bool
	// The timer starts first, because a worker that reads nothing also blocks the sending.
	w.options.Pulse.AfterFunc(w.options.Grace, func() {
		if !sent.Load() || w.mayRun(c, item) {
			end(k)
		}
	})
	w.session.CancelItem(c.ID(), item)
	sent.Store(true)
}

// mayRun reports whether an item of a call may still run: it has no outcome, the worker does not wait for credit for it, and shows no other item of the call.
func (w *Worker) mayRun(c *call, item int) bool {
	if at := w.session.Progress(&c.Batch); !at.Held || item < at.Done || at.Waiting {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return false
	}
	shown, ok := w.blackBox()[c]
	return !ok || shown.item == item
}

// find returns the call whose item at a place in the input runs, and the item's place in the call. It returns nil if the worker shows no such item.
func (w *Worker) find(place int) (*call, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return nil, 0
	}
	for c, s := range w.blackBox() {
		if worker.PlaceOf(c.b, c.base+s.item) == place {
			return c, s.item
		}
	}
	return nil, 0
}

// Stack implements [worker.Worker]. The text is the worker's own.
func (w *Worker) Stack(ctx context.Context) (string, error) {
	answer, err := w.service.Stack(ctx, &workerpb.StackRequest{})
	switch {
	case status.Code(err) == codes.Unimplemented:
		return "", fmt.Errorf("this plugin does not show its stacks: %w", errors.ErrUnsupported)
	case ctx.Err() != nil:
		return "", fmt.Errorf("the worker does not answer: %w", context.Cause(ctx))
	case err != nil:
		return "", fmt.Errorf("ask for stacks: %s", wire.Plain(bound.Text(status.Convert(err).Message(), wire.MaxMessageText)))
	}
	return bound.Text(string(answer.GetText()), wire.MaxStacks), nil
}
