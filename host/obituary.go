package host

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/session"
	"github.com/parhost/parhost/internal/wire"
)

// fate is why a worker is to die.
type fate struct {
	kind    Kind
	cause   Cause
	message string
	call    *call // whose item is the cause; nil when nobody knows
	guilty  int   // its place in the batch
}

// tooLate kills the worker if the item is still running: with its stacks on stderr, if it is a Go program that still can.
func (p *process) tooLate(c *call, item int) {
	if at := p.session.Progress(&c.Batch); !at.Held || item < at.Done {
		return
	}
	f := &fate{
		kind: wire.Timeout, cause: CauseTimeout, call: c, guilty: c.base + item,
		message: fmt.Sprintf("still running %v after its limit of %v", p.cfg.Grace, c.b.orders().timeout),
	}
	p.killShown(f)
}

// hung kills a worker that runs several items and has not said of one that its time is over. Its watch on items hangs with them, so that any
// of them may have stopped the whole process: none is guilty yet, and each runs again alone.
func (p *process) hung() {
	p.killShown(&fate{kind: wire.Timeout, cause: CauseTimeout, message: "the process hung, with several items running", guilty: -1})
}

// dumpTime is how long a process has to show its stacks. One that does takes some milliseconds, on a machine that has time for it.
const dumpTime = 500 * time.Millisecond

// killShown kills the worker once it has had the time to show its stacks.
func (p *process) killShown(f *fate) {
	p.decide(f)
	p.child.AskForStacks()
	select {
	case <-p.child.Exited():
	case <-time.After(dumpTime):
	}
	p.kill(f)
}

// decide writes down why the worker dies; the first reason stays. It may be the worker's own words, which go to each item that it held.
func (p *process) decide(f *fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fate == nil {
		f.message = wire.Bound(f.message, wire.MaxMessageText)
		p.fate = f
	}
}

// kill ends the process. The receiver does the rest.
func (p *process) kill(f *fate) {
	p.decide(f)
	p.child.KillNow()
	p.cancel()
}

// obituary settles all calls with what is known of the worker's death.
func (p *process) obituary(cause error) {
	p.fail()
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.session.Close()
	held := p.held()
	var broken *session.ProtocolError
	switch {
	case errors.As(cause, &broken):
		p.decide(&fate{kind: wire.Crashed, cause: CauseProtocol, message: broken.Error(), guilty: -1})
	case p.child.BrokeConnection():
		p.decide(&fate{kind: wire.Crashed, cause: CauseProtocol, message: "worker broke the protocol: " + rpcWords(cause), guilty: -1})
	case status.Code(cause) == codes.ResourceExhausted: // from gRPC, for a message that is too large, or from the worker, which may lie
		p.decide(&fate{kind: wire.Crashed, cause: CauseProtocol, message: streamWords(cause), guilty: -1})
	}
	orderly := errors.Is(cause, io.EOF) // the end that it was asked for, or SIGTERM: it has settled all that it began
	p.mu.Lock()
	decided := p.fate != nil
	p.mu.Unlock()
	if orderly || !decided { // whether it ended by signal or exit shows in a moment
		p.child.AwaitEndInHurry(p.cfg.Grace)
	}
	late := !isClosed(p.child.Exited())
	p.bury() // kills a process that has not ended
	switch {
	case late && !p.child.EndedItself(): // it broke its stream and lived on
		p.decide(&fate{kind: wire.Crashed, cause: CauseProtocol, message: streamWords(cause), guilty: -1})
	case orderly && len(held) > 0:
		p.decide(&fate{kind: wire.Crashed, message: streamWords(cause), guilty: -1})
	}

	p.mu.Lock()
	f := p.fate
	p.mu.Unlock()
	d := p.child.Death(f != nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	l := loss{
		kind: wire.Crashed, message: d.Message, cause: d.Cause, exitCode: d.ExitCode, signal: d.Signal, stderr: d.Stderr, dump: d.Dump, usage: d.Usage, outside: d.Outside,
		guilty: -1, suspect: -1, ran: -1,
	}
	switch {
	case f != nil:
		l.kind, l.message, l.cause = f.kind, f.message+d.Message, cmp.Or(f.cause, d.Cause)
	case l.cause == CauseOutOfMemory:
		l.kind = wire.OutOfMemory
	case l.outside:
		l.message += ", perhaps sent by somebody else"
	}
	p.last = l.message
	witness := p.blackBox()
	losses := make([]loss, len(held))
	for i := range held {
		losses[i] = p.lossOf(f, held, i, l, witness)
		losses[i].orderly = orderly
	}
	answered := slices.ContainsFunc(losses, func(l loss) bool { return l.begun && !l.orderly && !l.unseen })
	for i, c := range held {
		own := losses[i]
		own.answered = answered
		if c.spread && own.begun && f == nil && d.Faulted() {
			own.message += "; its item lay in a buffer, which workers can only read"
		}
		c.end.lost = &own
		if p.closed {
			c.end.err = ErrClosed
		}
		c.close()
	}
	p.shelf.close()
	close(p.dead)
}

// rpcPrefix is what gRPC writes before the words of an error. An error that a worker passes on may hold it several times.
var rpcPrefix = regexp.MustCompile(`rpc error: code = \w+(\(\d+\))? desc = |rpc error: code = `)

// rpcWords returns the words of an error of gRPC's, without what only a programmer of gRPC understands.
func rpcWords(err error) string {
	text := err.Error()
	if s, ok := status.FromError(err); ok {
		text = s.Message()
	}
	return wire.Bound(rpcPrefix.ReplaceAllString(text, ""), wire.MaxMessageText)
}

// streamWords says how the stream of a worker ended.
func streamWords(cause error) string {
	if errors.Is(cause, io.EOF) {
		return "worker closed its stream"
	}
	return "worker closed its stream: " + rpcWords(cause)
}

// lossOf says what the worker's death, l, means for one of the calls that it held, in the order in which they were sent. witness is what the worker
// showed, if it showed anything; f why the host killed it, nil if it did not. Called with mu held.
func (p *process) lossOf(f *fate, held []*call, at int, l loss, witness map[*call]sight) loss {
	c, begun := held[at], at < p.threads
	l.begun = begun
	l.ran = -1
	switch s, seen := witness[c]; {
	case seen:
		l.ran = c.base + max(c.Done(), s.item)
	case begun && len(witness) == 0:
		l.ran = c.base + c.Done()
	}
	l.alone = len(held) == 1 // or the results of the one before may have been lost on their way
	switch s, seen := witness[c]; {
	case f != nil && f.call == c && f.guilty >= 0:
		l.guilty, l.ran, l.alone = f.guilty, f.guilty, true
		l.begun = begun && f.guilty >= c.base+c.Done() // or it ended after all, before the worker did; the others are innocent
	case f != nil && f.call != nil && f.call != c && (f.kind == wire.Canceled || slices.Index(held, f.call) < p.threads):
		l.begun = false // the culprit is known, and can have been begun; it may be settled since
	case seen:
		l.begun = true
		l.suspect = c.base + max(c.Done(), s.item)
		if p.threads == 1 {
			l.guilty = l.suspect
		}
	case len(witness) > 0: // the worker did not run this one
		l.begun = false
	case f != nil && f.call == c:
		l.alone = true
	default:
		l.unseen = f == nil && p.shared && p.threads <= arena.MaxThreads
	}
	return l
}

// bury ends whatever is left of the process and of go-plugin's client. It returns within seconds.
func (p *process) bury() {
	p.buried.Do(func() {
		if p.cancel != nil {
			p.cancel()
		}
		p.child.Bury()
		child.Bounded(func() {
			if p.link != nil {
				p.link.Close()
			}
			if !p.child.Stays() { // it would remove the folder, and wait for what is mounted there
				p.client.Kill() // which waits for gRPC's reader
			}
		})
	})
}
