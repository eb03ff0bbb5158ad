package host

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/session"
	"github.com/parhost/parhost/internal/wire"
)

// foreignSignals end processes that have done nothing wrong: a program gets them from its own faults only if it sends them itself.
var foreignSignals = []string{"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"}

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
	dumpGoroutines(p.child.cmd.Process)
	select {
	case <-p.child.exited:
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
	p.child.kill()
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
	case status.Code(cause) == codes.ResourceExhausted: // from gRPC, for a message that is too large, or from the worker, which may lie
		p.decide(&fate{kind: wire.Crashed, cause: CauseProtocol, message: streamWords(cause), guilty: -1})
	}
	orderly := errors.Is(cause, io.EOF) // the end that it was asked for, or SIGTERM: it has settled all that it began
	p.mu.Lock()
	decided := p.fate != nil
	p.mu.Unlock()
	if orderly || !decided { // whether it ended by signal or exit shows in a moment
		select {
		case <-p.child.exited:
		case <-p.child.hurry:
		case <-time.After(p.cfg.Grace):
		}
	}
	late := !isClosed(p.child.exited)
	p.bury() // kills a process that has not ended
	switch {
	case late && !p.child.endedItself(): // it broke its stream and lived on
		p.decide(&fate{kind: wire.Crashed, cause: CauseProtocol, message: streamWords(cause), guilty: -1})
	case orderly && len(held) > 0:
		p.decide(&fate{kind: wire.Crashed, message: streamWords(cause), guilty: -1})
	}

	_, code, signal := p.child.lastState()
	l := loss{kind: wire.Crashed, exitCode: code, signal: signal, stderr: p.child.output.lines(0), guilty: -1, suspect: -1, ran: -1}
	l.dump, l.usage = p.child.output.lastWords(), p.child.usage()
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.fate
	if f != nil {
		l.kind, l.message, l.cause = f.kind, f.message+p.limitMet(Cause(p.child.death.Cause)), cmp.Or(f.cause, Cause(p.child.death.Cause))
	} else if l.cause, l.message = p.diagnosis(l.stderr); l.cause == CauseOutOfMemory {
		l.kind = wire.OutOfMemory
	} else if l.cause == CauseSignal && slices.Contains(foreignSignals, signal) && p.cpuLimitMet(signal) == "" { // the host knows of nothing that sent it
		l.outside = true
		l.message += ", perhaps sent by somebody else"
	}
	p.last = l.message
	witness := p.blackBox()
	losses := make([]loss, len(held))
	for i := range held {
		losses[i] = p.lossOf(held, i, l, witness)
		losses[i].orderly = orderly
	}
	answered := slices.ContainsFunc(losses, func(l loss) bool { return l.begun && !l.orderly && !l.unseen })
	for i, c := range held {
		own := losses[i]
		own.answered = answered
		if c.spread && own.begun && f == nil && faulted(&own) {
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

// diagnosis says what the process died of, if nobody decided that it had to: as a cause, and in words, with the limit that it met.
func (p *process) diagnosis(stderr []string) (cause Cause, words string) {
	words, _, signal := p.child.lastState()
	cause = Cause(p.child.death.Cause)
	cpuLimit := p.cpuLimitMet(signal)
	switch {
	case outOfMemory(stderr):
		cause = CauseOutOfMemory
	case cause == CauseExit && outOfThreads(stderr): // as it says itself: setrlimit(2) bounds, but does not count
		cause = CausePIDs
	case cause == CauseOutOfMemory, cause == CauseEscape:
		words = "process was killed"
	case cpuLimit != "": // more certain than a death for want of memory, which may be that of any process of the machine
		words += cpuLimit
	case signal == "SIGKILL" && p.child.endedItself() && p.ooms.claim(p.oomsBefore):
		cause, words = CauseOutOfMemory, "process was killed by the kernel"
	}
	return cause, words + p.limitMet(cause)
}

// tickError is how far the kernel's two counts of CPU time may differ for a process that has used little.
const tickError = 500 * time.Millisecond

// cpuLimitMet says in words which limit of CPU time a signal of the kernel's came from, and is empty if it came from none. The kernel compares the limit
// with what the clock's ticks have counted, and reports what the scheduler has. On a busy machine they differ by some percent, and in a short life by more.
func (p *process) cpuLimitMet(signal string) string {
	if signal != "SIGXCPU" && (signal != "SIGKILL" || !p.child.endedItself()) {
		return ""
	}
	limit, used := cpuLimit(signal), p.child.usage()
	switch reached := limit > 0 && used != nil && used.User+used.System >= limit-limit/10-tickError; {
	case reached && signal == "SIGXCPU":
		return fmt.Sprintf(": it used %v of CPU time, the soft limit is %v (RLIMIT_CPU, ulimit -St)", (used.User + used.System).Round(time.Millisecond), limit)
	case reached:
		return fmt.Sprintf(": it used %v of CPU time, the limit is %v (ulimit -t)", (used.User + used.System).Round(time.Millisecond), limit)
	case signal == "SIGXCPU": // it has set a lower one itself
		return ": it reached a limit of its CPU time (RLIMIT_CPU)"
	default:
		return ""
	}
}

// limitMet says in words which limit of its sandbox a process met that died of this.
func (p *process) limitMet(cause Cause) string {
	policy := &p.cfg.Sandbox
	switch cause {
	case CauseOutOfMemory:
		if policy.MemoryBytes == 0 { // the machine's
			return ": out of memory" + p.memoryLimits()
		}
		return fmt.Sprintf(": out of memory, the limit is %d bytes (Config.Sandbox.MemoryBytes)", policy.MemoryBytes)
	case CausePIDs:
		if p.pids == 0 { // the system's
			return "; it was refused a process or a thread" + tasksLimit() + p.memoryLimits()
		}
		return fmt.Sprintf("; it was refused a process or a thread: the limit is %d (Config.Sandbox.PIDs)", p.pids)
	case CauseEscape:
		return ": it had left the cgroup that holds its limits (Config.Sandbox)"
	case CauseSeccomp:
		return "; its sandbox forbids the system call that it made"
	case CauseFileSize:
		if limit := fileLimit(); limit >= 0 && (policy.FileBytes == 0 || limit < policy.FileBytes) {
			return fmt.Sprintf("; a file grew too large: the limit is %d bytes (ulimit -f)", limit)
		}
		if policy.FileBytes == 0 && policy.Level == sandbox.Off { // it has set one itself
			return "; a file grew too large (RLIMIT_FSIZE)"
		}
		return fmt.Sprintf("; a file grew too large: the limit is %d bytes (Config.Sandbox.FileBytes)", policy.FileBytes)
	default:
		return ""
	}
}

// memoryLimits returns words for the limits at which the kernel refuses a worker memory, and stacks for its threads.
func (p *process) memoryLimits() string {
	words := ""
	if limit := arena.AddressSpace(); limit > 0 {
		words = fmt.Sprintf("; address space is limited to %d bytes (ulimit -v)", limit)
	}
	if limit := dataLimit(); limit >= 0 {
		words += fmt.Sprintf("; private memory is limited to %d bytes (ulimit -d)", limit)
	}
	if limit := p.cfg.Sandbox.MemoryBytes; limit > 0 {
		words += fmt.Sprintf("; the limit of memory, in which the stacks of threads count, is %d bytes (Config.Sandbox.MemoryBytes)", limit)
	}
	return words
}

// lossOf says what the worker's death, l, means for one of the calls that it held, in the order in which they were sent. witness is what the worker
// showed, if it showed anything. Called with mu held.
func (p *process) lossOf(held []*call, at int, l loss, witness map[*call]sight) loss {
	f, c, begun := p.fate, held[at], at < p.threads
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

// faulted reports whether a process died of memory that it must not touch.
func faulted(l *loss) bool {
	return l.signal == "SIGSEGV" || slices.ContainsFunc(l.stderr, func(line string) bool { return strings.HasPrefix(line, "unexpected fault address") })
}

// bury ends whatever is left of the process and of go-plugin's client. It returns within seconds.
func (p *process) bury() {
	p.buried.Do(func() {
		if p.cancel != nil {
			p.cancel()
		}
		p.child.bury()
		patiently(func() {
			if p.link != nil {
				p.link.Close()
			}
			if !p.child.stays { // it would remove the folder, and wait for what is mounted there
				p.client.Kill() // which waits for gRPC's reader
			}
		})
	})
}
