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

// What is to be written when a run is to end waits for its reader, as long as that reads: so long at the most between two pieces.
const (
	patienceAtEnd = time.Second
	patienceAtOne = 100 * time.Millisecond // after the second signal
)

// watchReaders stops waiting for the readers of stdout and stderr when a signal comes or ctx ends. It passes the signals on through relayed, until stop is
// called.
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
				default: // those before it do
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

// interruptibly calls do with a context that the first signal cancels. After a signal it returns errInterrupted, whatever do returns. No signal is lost: one that
// arrives while do returns stays in the channel or becomes the error.
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

// untilInterrupted is interruptibly with the signals of this process. A second signal ends the process at once, because do may be in a call that ignores
// its context.
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
	case <-signals: // it came as do returned
		return &exitError{code: exitInterrupted, err: errInterrupted}
	default:
		return err
	}
}

// lostError is the error of results that could not be written, with what has been.
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

// warnOfStdout says that nobody will see the results. It is no error: a stream that was closed cannot be told from a /dev/null that is open for
// reading too, which is what Python's subprocess.DEVNULL gives a program whose results nobody wants.
func warnOfStdout(s *streams, o *options) {
	if o.output != "none" && s.outlets.out.closedAtStart {
		s.say("parhost: warning: stdout is closed, so nobody sees the results; --output none or >/dev/null says that nobody wants them")
	}
}
