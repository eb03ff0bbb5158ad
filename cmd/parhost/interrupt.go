package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/parhost/parhost/internal/wire"
)

// When a run is ending, it still writes its output as long as the readers of stdout and stderr keep reading. These are the longest times that one
// piece may take.
const (
	patienceAtEnd = time.Second
	patienceAtOne = 100 * time.Millisecond // after the second signal
)

// watchReaders stops waiting for slow readers of stdout and stderr when a signal arrives or ctx ends. It forwards the signals to relayed until stop
// is called.
func (s *streams) watchReaders(ctx context.Context, signals <-chan os.Signal) (relayed <-chan os.Signal, stop func()) {
	relay, over := make(chan os.Signal, 2), make(chan struct{})
	go func() {
		ended, patience := ctx.Done(), patienceAtEnd
		for {
			select {
			case signal := <-signals:
				s.outlets.hurry(patience)
				patience = patienceAtOne
				select {
				case relay <- signal:
				default: // relay is full, and the signals in it have the same effect
				}
			case <-ended:
				ended = nil
				s.outlets.hurry(patienceAtEnd)
			case <-over:
				return
			}
		}
	}()
	return relay, func() { close(over) }
}

// interruptibly calls do with a context that the first signal cancels. After a signal it returns errInterrupted, whatever do returns. No signal is
// lost: a signal that arrives while do returns either stays in the channel or becomes the error.
func interruptibly(ctx context.Context, signals <-chan os.Signal, do func(context.Context) error) error {
	ctx, interrupt := context.WithCancelCause(ctx)
	defer interrupt(nil)
	over, interrupted := make(chan struct{}), make(chan bool)
	go func() {
		select {
		case <-signals:
			interrupt(errInterrupted)
			interrupted <- true
		case <-over:
			interrupted <- false
		}
	}()
	err := do(ctx)
	close(over)
	if <-interrupted {
		return &exitError{code: exitInterrupted, err: errInterrupted}
	}
	return err
}

// untilInterrupted calls interruptibly with the signals of this process. A second signal ends the process at once, because do may be in a call that
// ignores its context.
func (s *streams) untilInterrupted(ctx context.Context, do func(context.Context) error) error {
	signals := make(chan os.Signal, 2)
	notifyInterrupts(signals)
	err := interruptibly(ctx, signals, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() {
			signal.Stop(signals)
			s.outlets.hurry(patienceAtEnd)
		})()
		return do(ctx)
	})
	signal.Stop(signals)
	select {
	case <-signals: // the signal arrived while do returned
		return &exitError{code: exitInterrupted, err: errInterrupted}
	default:
		return err
	}
}

// lostError is the error if results could not be written. It says how many lines were written before.
func (r *itemRun) lostError() *exitError {
	lines, cut := r.outlets.out.account()
	hint := wire.Count(lines, "whole line") + " were written"
	if lines == 1 {
		hint = "1 whole line was written"
	}
	switch {
	case errors.Is(r.lost, errNotRead):
		hint = "at least " + hint
	case cut:
		hint += ", and the beginning of one more"
	}
	hint += "; all other results are lost"
	if r.journal != nil {
		hint += " to stdout, but in the joblog: the same command with --resume shows them"
	}
	return &exitError{code: exitFailed, err: fmt.Errorf("write results: %w", r.lost), hint: hint}
}

// warnOfStdout warns that nobody will see the results. It is not an error, because a closed stream looks the same as a /dev/null that is open for
// reading and writing, and Python's subprocess.DEVNULL passes such a /dev/null to a program whose results are not wanted.
func warnOfStdout(s *streams, o *options) {
	if o.output != "none" && s.outlets.out.closedAtStart {
		s.say("parhost: warning: stdout is closed, so nobody sees the results; --output none or >/dev/null says that nobody wants them")
	}
}
