package host

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/internal/wire"
)

// fate is why a worker is to die.
type fate struct {
	kind    Kind
	message string
	call    *call // whose item is the cause; nil when nobody knows
	guilty  int   // its place in the batch
}

// tooLate kills the worker if the item is still running: with its stacks on stderr, if it is a Go program that still can.
func (p *process) tooLate(c *call, item int) {
	p.mu.Lock()
	running := p.calls[c.id] == c && item >= c.got
	p.mu.Unlock()
	if !running {
		return
	}
	f := &fate{
		kind: wire.Timeout, call: c, guilty: c.base + item,
		message: fmt.Sprintf("still running %v after its limit of %v", p.cfg.Grace, c.b.orders().timeout),
	}
	p.decide(f)
	dumpGoroutines(p.child.cmd.Process)
	select {
	case <-p.child.exited:
	case <-time.After(200 * time.Millisecond):
	}
	p.kill(f)
}

// decide writes down why the worker dies; the first reason stays.
func (p *process) decide(f *fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fate == nil {
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
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	var lie *lieError
	switch {
	case errors.As(cause, &lie):
		p.decide(&fate{kind: wire.Crashed, message: lie.Error(), guilty: -1})
	case status.Code(cause) == codes.ResourceExhausted:
		p.decide(&fate{kind: wire.Oversize, message: status.Convert(cause).Message(), guilty: -1})
	}
	orderly := errors.Is(cause, io.EOF) // the end that it was asked for, or SIGTERM: it has settled all that it began
	p.mu.Lock()
	decided := p.fate != nil
	p.mu.Unlock()
	if orderly || !decided { // whether it ended by signal or exit shows in a moment
		select {
		case <-p.child.exited:
		case <-time.After(p.cfg.Grace):
		}
	}
	if orderly && len(p.order) > 0 || !orderly && !isClosed(p.child.exited) {
		p.decide(&fate{kind: wire.Crashed, message: "worker closed its stream: " + cause.Error(), guilty: -1})
	}
	p.bury()

	words, code, signal := p.child.death()
	l := loss{kind: wire.Crashed, message: words, exitCode: code, signal: signal, stderr: p.child.output.lines(0), guilty: -1}
	l.dump, l.usage = p.child.output.lastWords(), p.child.usage()
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.fate
	switch {
	case f != nil:
		l.kind, l.message = f.kind, f.message
	case outOfMemory(l.stderr):
		l.kind = wire.OutOfMemory
	}
	p.last = l.message
	begun := min(p.threads, len(p.order))
	witness := p.blackBox()
	for i, c := range p.order {
		own := l
		own.begun = i < begun && (f == nil || f.call == nil || f.call == c)
		own.orderly = orderly
		own.alone = len(p.order) == 1 // or the results of the one before may have been lost on their way
		if f != nil && f.call == c {
			own.guilty = f.guilty
			own.alone = true
			if f.guilty >= 0 && f.guilty < c.base+c.got { // it ended after all, before the worker did; the others are innocent
				own.begun = false
			}
		}
		if item, seen := witness[c.id]; seen && own.begun && own.guilty < 0 {
			own.guilty = c.base + max(c.got, item)
		}
		c.end.lost = &own
		if p.closed {
			c.end.err = ErrClosed
		}
		if c.late != nil {
			c.late.Stop()
		}
		close(c.done)
	}
	p.calls, p.order = nil, nil
	p.shelf.close()
	close(p.dead)
}

// blackBox returns which item each batch was at when the worker died, as far as the worker's entries tell: they may say anything.
// With one thread they name the guilty item. With several, each is a suspect.
func (p *process) blackBox() map[uint64]int {
	if !p.shared || p.threads > 1 {
		return nil
	}
	batch, item := p.shelf.arena.Entry(0).Read()
	c := p.calls[batch]
	if c == nil || item >= uint64(c.count) {
		return nil
	}
	return map[uint64]int{batch: int(item)}
}

// outOfMemory reports whether a process's last words are those of a Go program that got no memory.
func outOfMemory(stderr []string) bool {
	return slices.ContainsFunc(stderr, func(line string) bool {
		line = strings.TrimPrefix(strings.TrimPrefix(line, "fatal error: "), "runtime: ")
		return strings.HasPrefix(line, "out of memory") || strings.HasPrefix(line, "cannot allocate memory")
	})
}

// bury ends whatever is left of the process and of go-plugin's client. It returns within seconds.
func (p *process) bury() {
	p.buried.Do(func() {
		if p.cancel != nil {
			p.cancel()
		}
		p.child.bury()
		p.client.Kill()
	})
}
