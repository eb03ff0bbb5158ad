package process

import (
	"context"
	"fmt"
	"time"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

// kill is the reason for which the host kills a worker.
type kill struct {
	kind    protocol.Kind
	cause   protocol.Cause
	message string
	call    *call // call for which the worker is killed; nil if it is for none
	item    *int  // place in the batch of the item for which the worker is killed; nil if unknown
}

// sendLimit is how long a worker may take to read a message. The SDK reads while it works, so it needs far less.
const sendLimit = 30 * time.Second

// watchSend kills the worker if it does not read what is sent, either within sendLimit or, once ctx has ended, within the grace period. The caller calls stop
// when the message has been sent.
func (w *Worker) watchSend(ctx context.Context, c *call) (stop func()) {
	stuck := func() {
		w.killFor(&kill{kind: protocol.KindCrashed, cause: protocol.CauseProtocol, message: "worker does not read what it is sent", call: c})
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

// silenceLimit returns how long a worker that keeps to the protocol can go without a message about a batch that it runs. 0 means that there is no limit.
func (w *Worker) silenceLimit(c *call) time.Duration {
	if t := c.Timeout(); t > 0 {
		return t + 2*w.options.Grace + time.Second
	}
	return 0
}

// watch kills the worker if an item of c does not end after its time limit, or if the worker may run c and has been silent for too long. In the second case the
// worker's own watch on its items hangs too.
func (w *Worker) watch(c *call) {
	at := w.session.Progress(&c.Batch)
	if at.Waiting { // the worker waits for the host
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
		k := &kill{kind: protocol.KindTimeout, cause: protocol.CauseTimeout, message: fmt.Sprintf("worker has been silent for %v", at.Silent.Round(time.Millisecond))}
		if !at.Others { // otherwise c may have ended with its results still on their way, and the next batch hangs
			k.call = c
		}
		w.killFor(k)
	}
}

// killOverdue kills the worker if the item is still running. A Go program that still can first writes its stacks to stderr.
func (w *Worker) killOverdue(c *call, item int) {
	if at := w.session.Progress(&c.Batch); !at.Held || item < at.Done {
		return
	}
	place := c.base + item
	w.killWithStacks(&kill{
		kind: protocol.KindTimeout, cause: protocol.CauseTimeout, call: c, item: &place,
		message: fmt.Sprintf("still running %v after its limit of %v", w.options.Grace, c.Timeout()),
	})
}

// killHung kills a worker that runs several items and has reported none of them as overdue. Its watch on items hangs too, so any of the items may have stopped
// the whole process. None is guilty yet: each runs again alone.
func (w *Worker) killHung() {
	w.killWithStacks(&kill{kind: protocol.KindTimeout, cause: protocol.CauseTimeout, message: "the process hung, with several items running"})
}

// flooded ends a worker that writes more output than it may.
func (w *Worker) flooded() {
	w.decide(&kill{kind: protocol.KindCrashed, cause: protocol.CauseFlood, message: fmt.Sprintf(
		"worker flooded its output: more than %d bytes (Config.MaxOutputBytes) beyond %d a second", w.options.Child.MaxOutputBytes, child.QuietRate)})
	w.child.KillNow() // the stream ends with the process
}

// stacksTime is how long a process has to write its stacks. This takes some milliseconds on a machine that is not overloaded.
const stacksTime = 500 * time.Millisecond

// killWithStacks kills the worker after giving it time to write its stacks.
func (w *Worker) killWithStacks(k *kill) {
	w.decide(k)
	w.child.AskForStacks()
	select {
	case <-w.child.Exited():
	case <-time.After(stacksTime):
	}
	w.killFor(k)
}

// decide records why the worker dies. Only the first reason counts. Its message is bounded, because it may be the worker's own words and goes to each item that
// the worker held.
func (w *Worker) decide(k *kill) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kill == nil {
		k.message = bound.Text(k.message, wire.MaxMessageText)
		w.kill = k
	}
}

// killFor ends the process. The receiver then notices the end of the stream and does the rest.
func (w *Worker) killFor(k *kill) {
	w.decide(k)
	w.child.KillNow()
	w.cancel()
}
