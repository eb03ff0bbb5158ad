package process

import (
	"cmp"
	"errors"
	"io"
	"regexp"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/session"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

// die buries a worker whose stream has ended, and tells each call that the worker held what its death means for the items. streamEnd is the error of the
// stream.
func (w *Worker) die(streamEnd error) {
	w.fail()
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.session.Close()
	held := w.held()
	orderly := errors.Is(streamEnd, io.EOF) // the stream ended by request or because of SIGTERM: all items that the worker began have an outcome
	w.explain(streamEnd, orderly, len(held))

	w.mu.Lock()
	k := w.kill
	w.mu.Unlock()
	d := w.child.Death(k != nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	e := protocol.ItemError{
		Kind: protocol.KindCrashed, Message: d.Message, Cause: d.Cause, ExitCode: d.ExitCode, Signal: d.Signal, Stderr: d.Stderr, Dump: d.Dump, Usage: d.Usage,
	}
	switch {
	case k != nil:
		e.Kind, e.Message, e.Cause = k.kind, k.message+d.Message, cmp.Or(k.cause, d.Cause)
	case d.Cause == protocol.CauseOutOfMemory:
		e.Kind = protocol.KindOutOfMemory
	case d.Outside:
		e.Message += ", perhaps sent by somebody else"
	}
	w.reason, w.cause = e.Message, e.Cause
	verdicts := judge(w.evidence(held, k, orderly))
	for i, c := range held {
		own := e
		if c.inBuffers && verdicts[i].Outcome != worker.Innocent && k == nil && d.Faulted() {
			own.Message += "; its item lay in a buffer, which workers can only read"
		}
		c.end.Death = &worker.Death{Error: own, Outside: k == nil && d.Outside, Verdict: verdicts[i]}
		if w.stopped {
			c.end.Err = worker.ErrStopped
		}
		c.close()
	}
	w.arena.close()
	close(w.gone)
}

// explain ends the process. It also decides why the worker died, unless the end of the process itself says so.
func (w *Worker) explain(streamEnd error, orderly bool, held int) {
	var broken *session.ProtocolError
	switch {
	case errors.As(streamEnd, &broken):
		w.decide(&kill{kind: protocol.KindCrashed, cause: protocol.CauseProtocol, message: broken.Error()})
	case w.child.BrokeConnection():
		w.decide(&kill{kind: protocol.KindCrashed, cause: protocol.CauseProtocol, message: "worker broke the protocol: " + rpcWords(streamEnd)})
	case status.Code(streamEnd) == codes.ResourceExhausted: // the status comes from gRPC, for a message that is too large, or from the worker, which may lie
		w.decide(&kill{kind: protocol.KindCrashed, cause: protocol.CauseProtocol, message: streamWords(streamEnd)})
	}
	w.mu.Lock()
	decided := w.kill != nil
	w.mu.Unlock()
	if orderly || !decided { // wait a moment for the exit status or signal
		w.child.AwaitEndInHurry(w.options.Grace)
	}
	late := !isClosed(w.child.Exited())
	w.bury() // kills a process that has not ended
	switch {
	case late && !w.child.EndedItself(): // the worker broke its stream and lived on
		w.decide(&kill{kind: protocol.KindCrashed, cause: protocol.CauseProtocol, message: streamWords(streamEnd)})
	case orderly && held > 0:
		w.decide(&kill{kind: protocol.KindCrashed, message: streamWords(streamEnd)})
	}
}

// evidence returns what the host knows about the batches that the worker held when it died. It is called with mu held.
func (w *Worker) evidence(held []*call, k *kill, orderly bool) death {
	threads := w.session.Threads()
	e := death{threads: threads, shows: w.shared && threads <= arena.MaxThreads, orderly: orderly}
	if k != nil {
		e.killed = &killing{canceled: k.kind == protocol.KindCanceled, item: k.item}
		if k.call != nil {
			e.killed.named = true
			e.killed.batch = slices.Index(held, k.call)
			e.killed.held = e.killed.batch >= 0
		}
	}
	box := w.blackBox()
	for _, c := range held {
		h := holding{next: c.base + c.Done(), size: c.b.Size()}
		if s, shown := box[c]; shown {
			place := c.base + s.item
			h.shown = &place
		}
		e.held = append(e.held, h)
	}
	return e
}

// bury ends the rest of the process and of go-plugin's client. It returns within seconds.
func (w *Worker) bury() {
	w.buryOnce.Do(func() {
		if w.cancel != nil {
			w.cancel()
		}
		w.child.Bury()
		child.Bounded(func() {
			if w.link != nil {
				w.link.Close()
			}
			if !w.child.Stays() { // Client.Kill would remove the folder, and wait for a file system that is mounted there
				w.client.Kill() // Client.Kill waits for gRPC's reader
			}
		})
	})
}

// rpcPrefix matches what gRPC writes before the text of an error. An error that a worker passes on may contain it several times.
var rpcPrefix = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`rpc error: code = \w+(\(\d+\))? desc = |rpc error: code = `)
})

// rpcWords returns the text of a gRPC error, without the parts that only a gRPC programmer understands.
func rpcWords(err error) string {
	text := err.Error()
	if s, ok := status.FromError(err); ok {
		text = s.Message()
	}
	return bound.Text(rpcPrefix().ReplaceAllString(text, ""), wire.MaxMessageText)
}

// streamWords says how the stream of a worker ended.
func streamWords(streamEnd error) string {
	if errors.Is(streamEnd, io.EOF) {
		return "worker closed its stream"
	}
	return "worker closed its stream: " + rpcWords(streamEnd)
}
