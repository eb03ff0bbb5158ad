// Package pulse measures for how long this process has not run while the clock went on, because it was stopped, or frozen with its container or machine.
package pulse

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	beat = 100 * time.Millisecond
	// late is the time without a beat after which the process counts as not having run.
	late = 300 * time.Millisecond
)

// Pulse is a heartbeat. Make one with [Start]. For a nil Pulse the process has always run.
type Pulse struct {
	lost atomic.Int64 // time for which the process has not run, in nanoseconds
	stop chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex
	last time.Time // when the process was last seen running
	slow bool      // the beat before was late too
}

// Start begins a heartbeat. The caller must end it with [Pulse.Stop].
func Start() *Pulse {
	p := &Pulse{last: time.Now(), stop: make(chan struct{})}
	p.done.Go(func() {
		t := time.NewTicker(beat)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p.Lost()
			case <-p.stop:
				return
			}
		}
	})
	return p
}

// Stop ends the heartbeat. It must be called once; on a nil Pulse it does nothing.
func (p *Pulse) Stop() {
	if p != nil {
		close(p.stop)
		p.done.Wait()
	}
}

// Lost returns for how long the process has not run so far. It includes the time since the last beat, so it is correct even when it is called
// because a timer expired during a pause.
//
// Of two late beats in a row, the second counts only with the time beyond late, because on a machine that is merely overloaded the process still runs.
func (p *Pulse) Lost() time.Duration {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	gap := now.Sub(p.last)
	p.last = now
	switch {
	case gap <= late:
		p.slow = p.slow && gap < beat/2 // a gap of less than half a beat says nothing
	case p.slow:
		p.lost.Add(int64(gap - late))
	default:
		p.slow = true
		p.lost.Add(int64(gap))
	}
	return time.Duration(p.lost.Load())
}

// Known returns what Lost returned last, without the time since the last beat. It takes a nanosecond.
func (p *Pulse) Known() time.Duration {
	if p == nil {
		return 0
	}
	return time.Duration(p.lost.Load())
}

// Mark is a point in time, with what was lost before it.
type Mark struct {
	At   time.Time
	lost time.Duration
}

// Mark returns the present point in time.
func (p *Pulse) Mark() Mark { return Mark{time.Now(), p.Known()} }

// Since returns for how long the process has run since m.
func (p *Pulse) Since(m Mark) time.Duration {
	lost := p.Lost() - m.lost
	return time.Since(m.At) - lost
}

// AfterFunc calls f once the process has run for d. The returned function prevents the call, unless it has begun.
func (p *Pulse) AfterFunc(d time.Duration, f func()) (stop func()) {
	begun := p.Mark()
	var mu sync.Mutex
	var timer *time.Timer
	stopped := false
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(d, func() {
		left := d - p.Since(begun)
		mu.Lock()
		again := left > 0 && !stopped
		if again {
			timer.Reset(left)
		}
		due := left <= 0 && !stopped
		mu.Unlock()
		if due {
			f()
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

// WithTimeout does what [context.WithTimeoutCause] does, but counts only time in which the process runs. The context reports no deadline, because
// pauses cannot be known in advance.
func (p *Pulse) WithTimeout(ctx context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := &timed{Context: ctx}
	stop := p.AfterFunc(d, func() {
		t.late.Store(ctx.Err() == nil)
		cancel(cause)
	})
	return t, func() {
		stop()
		cancel(context.Canceled)
	}
}

// timed is a context whose error is context.DeadlineExceeded after its timeout, as with [context.WithTimeout].
type timed struct {
	context.Context
	late atomic.Bool
}

func (t *timed) Err() error {
	err := t.Context.Err()
	if err != nil && t.late.Load() {
		return context.DeadlineExceeded
	}
	return err
}

// After returns a channel that is closed once the process has run for d.
func (p *Pulse) After(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	p.AfterFunc(d, func() { close(c) })
	return c
}
