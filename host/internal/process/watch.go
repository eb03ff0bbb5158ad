package process

import (
	"context"
	"fmt"
	"time"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/internal/wire"
)

// kill is why the host kills a worker.
type kill struct {
	kind    wire.Kind
	cause   wire.Cause
	message string
	call    *call // that it is for; nil if it is for none
	item    *int  // the place in the batch of the item that it is for; nil if that is not known
}

// sendLimit is how long a worker may take to read a message. The SDK reads while it works, so this is far more than it needs.
const sendLimit = 30 * time.Second

// watchSend kills the worker if it does not read what is sent: after sendLimit, or within the grace of an ended ctx. The returned function ends the watch.
func (w *Worker) watchSend(ctx context.Context, c *call) (stop func()) {
	stuck := func() {
		w.killFor(&kill{kind: wire.Crashed, cause: wire.CauseProtocol, message: "worker does not read what it is sent", call: c})
	}
	limit := sendLimit
	if silence := w.silenceLimit(c); silence > 0 {
		limit = min(limit, silence)
	}
	sent := make(chan struct{})
	unwatch := w.options.Pulse.AfterFunc(limit, stuck)
	grace := context.AfterFunc(ctx, func() {
		select {
		case <-sent:
		case <-w.options.Pulse.After(w.options.Grace):
			stuck()
		}
	})
	return func() {
		close(sent)
		grace()
		unwatch()
	}
}

// silenceLimit is how long a worker that keeps to the protocol can say nothing about a batch that it runs. 0 means that there is no limit.
func (w *Worker) silenceLimit(c *call) time.Duration {
	if t := c.Timeout(); t > 0 {
		return t + 2*w.options.Grace + time.Second
	}
	return 0
}

// watch kills the worker if an item of c does not end though its time is over, or if the worker may run c and has been silent for too long: then the
// worker's own watch on items hangs too.
func (w *Worker) watch(c *call) {
	at := w.session.Progress(&c.Batch)
	if at.Waiting { // for the host
		return
	}
	item, stuck, hung := 0, false, false
	w.mu.Lock()
	if at.MayRun && !w.over {
		item, stuck = w.stuck(c)
		hung = stuck && c.late == nil && len(w.blackBox()) > 1
	}
	w.mu.Unlock()
	switch {
	case hung:
		w.killHung()
		return
	case stuck:
		w.killOverdue(c, item)
		return
	}
	if at.MayRun && at.Silent > w.silenceLimit(c) {
		k := &kill{kind: wire.Timeout, cause: wire.CauseTimeout, message: fmt.Sprintf("worker has been silent for %v", at.Silent.Round(time.Millisecond))}
		if !at.Others { // else c may be over, and its results lost on their way, and it is the next batch that hangs
			k.call = c
		}
		w.killFor(k)
	}
}

// killOverdue kills the worker if the item is still running: with its stacks on stderr, if it is a Go program that still can.
func (w *Worker) killOverdue(c *call, item int) {
	if at := w.session.Progress(&c.Batch); !at.Held || item < at.Done {
		return
	}
	place := c.base + item
	w.killWithStacks(&kill{
		kind: wire.Timeout, cause: wire.CauseTimeout, call: c, item: &place,
		message: fmt.Sprintf("still running %v after its limit of %v", w.options.Grace, c.Timeout()),
	})
}

// killHung kills a worker that runs several items and has not said of one that its time is over. Its watch on items hangs with them, so any of them may have
// stopped the whole process: none is guilty yet, and each runs again alone.
func (w *Worker) killHung() {
	w.killWithStacks(&kill{kind: wire.Timeout, cause: wire.CauseTimeout, message: "the process hung, with several items running"})
}

// flooded ends a worker that writes without end.
func (w *Worker) flooded() {
	w.decide(&kill{kind: wire.Crashed, cause: wire.CauseFlood, message: fmt.Sprintf(
		"worker flooded its output: more than %d bytes (Config.MaxOutputBytes) beyond %d a second", w.options.Child.MaxOutputBytes, child.QuietRate)})
	w.child.KillNow() // its stream ends with it
}

// stacksTime is how long a process has to show its stacks. One that does takes some milliseconds, on a machine that has time for it.
const stacksTime = 500 * time.Millisecond

// killWithStacks kills the worker once it has had the time to show its stacks.
func (w *Worker) killWithStacks(k *kill) {
	w.decide(k)
	w.child.AskForStacks()
	select {
	case <-w.child.Exited():
	case <-time.After(stacksTime):
	}
	w.killFor(k)
}

// decide records why the worker dies. The first reason stays. It may be the worker's own words, which go to each item that it held.
func (w *Worker) decide(k *kill) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kill == nil {
		k.message = wire.Bound(k.message, wire.MaxMessageText)
		w.kill = k
	}
}

// killFor ends the process. The receiver does the rest.
func (w *Worker) killFor(k *kill) {
	w.decide(k)
	w.child.KillNow()
	w.cancel()
}
