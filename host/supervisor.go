package host

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/wire"
)

const (
	// The pool gives up after brokenAfter failed starts in a row, if it has no worker left. It also gives up after brokenAfter times its size workers in
	// a row have ended with nothing done.
	brokenAfter = 5
	// A worker that dies before it got a batch, and before it is this old, counts as a failed start.
	infancy = time.Second
	// checkEvery is how often the memory of workers and the ages of idle workers are checked. The ages of other workers are checked when a lease ends.
	checkEvery = time.Second
)

// breaker counts the failed starts of a pool, and the workers that ended with nothing done.
type breaker struct {
	mu       sync.Mutex
	failures int // in a row, of all supervisors
	living   int // workers that are ready now

	// fruitless counts the workers that got items, ended before they had run any, and left no item to blame, since an item last had an outcome.
	fruitless atomic.Int64
}

// progress says that an item has an outcome, or has used up an attempt.
func (b *breaker) progress() {
	if b.fruitless.Load() > 0 { // a store in every call would move the cache line between CPUs
		b.fruitless.Store(0)
	}
}

// troubled reports whether the last start failed, or the last worker ended with nothing done.
func (b *breaker) troubled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures > 0 || b.fruitless.Load() > 0
}

func (b *breaker) started() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.living++
}

// ended counts a worker's end. well says that the worker had been of use, so that another one is worth a start.
func (b *breaker) ended(well bool) (failures int, broken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.living--
	return b.count(well)
}

func (b *breaker) failed() (failures int, broken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count(false)
}

// deserted reports whether no worker is left.
func (b *breaker) deserted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.living == 0
}

func (b *breaker) count(well bool) (failures int, broken bool) {
	if well {
		b.failures = 0
	} else {
		b.failures++
	}
	return b.failures, b.living == 0 && b.failures >= brokenAfter
}

// supervisor keeps one worker of a pool alive: it starts a worker, watches it until it ends, and starts the next.
type supervisor struct {
	pool     *Pool
	number   int
	quit     chan struct{} // closed when the pool needs fewer workers
	delay    *backoff.ExponentialBackOff
	stopping sync.WaitGroup // workers that are ending
}

// run returns when the pool has closed or quit is closed, and nothing of the supervisor's workers is left. life ends when the pool is to end at once. first
// gets the outcome of the first start, which opening bounds.
func (s *supervisor) run(life, opening context.Context, first func(error)) {
	p := s.pool
	defer s.stopping.Wait()
	s.delay = backoff.NewExponentialBackOff()
	s.delay.InitialInterval, s.delay.MaxInterval = 50*time.Millisecond, 5*time.Second

	ctx, cancel := context.WithCancel(life)
	stop := context.AfterFunc(opening, cancel)
	w, err := s.start(ctx)
	stop()
	if err != nil && opening.Err() != nil {
		err = context.Cause(opening)
	}
	cancel()
	place := s.ready(w, err, false)
	if err != nil {
		p.breaker.failed()
	}
	first(err)
	for {
		if place == nil {
			if place = s.restart(life); place == nil {
				return
			}
		}
		if place = s.watch(life, place); place == nil && s.stopped() {
			return
		}
	}
}

// ready hands a started worker to the scheduler.
func (s *supervisor) ready(w worker.Worker, err error, replace bool) *entry {
	if err != nil {
		return nil
	}
	info := w.Info()
	s.pool.breaker.started()
	s.pool.cfg.events.put(WorkerStarted{At: time.Now(), Worker: s.number, PID: info.PID, Threads: info.Threads, Took: time.Since(info.Started), Replace: replace})
	most := s.pool.cfg.MaxItems
	if most > 0 {
		most += rand.IntN(1 + most/10) // so that not all workers are replaced at once
	}
	var oldest time.Time
	if age := s.pool.cfg.MaxAge; age > 0 {
		oldest = info.Started.Add(age)
	}
	return s.pool.scheduler.add(w, most, oldest)
}

// restart tries to start a worker until that succeeds. It waits longer after each failure. It returns nil if the pool closes first.
func (s *supervisor) restart(life context.Context) *entry {
	p := s.pool
	for !s.stopped() {
		if p.breaker.troubled() {
			if !s.pause() {
				return nil
			}
		}
		w, err := s.start(life)
		if err == nil {
			s.resetDelay()
			return s.ready(w, nil, true)
		}
		if s.stopped() {
			return nil
		}
		p.cfg.Logger.Warn("worker did not start", "worker", s.number, "err", err)
		if n, broken := p.breaker.failed(); broken {
			p.refuse(&BrokenError{Failures: n, Err: err})
		} else if errors.As(err, new(*sandbox.ChangedError)) && p.breaker.deserted() { // the file stays changed
			p.refuse(&BrokenError{Err: err})
		}
	}
	return nil
}

// pause waits between two starts. It reports whether another worker is wanted.
func (s *supervisor) pause() bool {
	s.pool.delayed.Add(1)
	defer s.pool.delayed.Add(-1)
	select {
	case <-time.After(s.delay.NextBackOff()):
		return true
	case <-s.pool.stop:
	case <-s.quit:
	}
	return false
}

// start starts the supervisor's next worker. It gives up when the pool closes or quit is closed.
func (s *supervisor) start(life context.Context) (worker.Worker, error) {
	s.pool.starting.Add(1)
	defer s.pool.starting.Add(-1)
	ctx, cancel := context.WithCancelCause(life)
	defer cancel(nil)
	go func() {
		select {
		case <-s.pool.stop:
			cancel(ErrClosed)
		case <-s.quit:
			cancel(errors.New("the pool needs fewer workers"))
		case <-ctx.Done():
		}
	}()
	return s.pool.start(ctx, s.number)
}

// resetDelay resets the delay between starts, unless workers start and then end with nothing done.
func (s *supervisor) resetDelay() {
	if s.pool.breaker.fruitless.Load() == 0 {
		s.delay.Reset()
	}
}

func (s *supervisor) stopped() bool { return isClosed(s.pool.stop) || isClosed(s.quit) }

// watch waits until the worker has ended or has been replaced. It returns the entry of the replacement, nil if there is none.
func (s *supervisor) watch(life context.Context, e *entry) *entry {
	p := s.pool
	full, failing := e.expired, e.worker.Failing()
	var again <-chan time.Time // when to try again, after a replacement that did not start
	var check <-chan time.Time
	if p.cfg.MaxAge > 0 || p.cfg.MaxRSS > 0 || p.cfg.MaxIdle > 0 {
		t := time.NewTicker(checkEvery)
		defer t.Stop()
		check = t.C
	}
	for {
		select {
		case <-e.worker.Gone():
			s.buryWorker(e)
			return nil
		case <-failing: // the worker is gone only once the cause of its death is known
			p.scheduler.exclude(e)
			failing = nil
		case <-e.leaving: // it takes no more batches, so there is no use in starting its replacement first
			s.retire(life, e, worker.AskedToLeave)
			return nil
		case <-full:
			reason := s.whyRetire(e)
			if reason == "" {
				reason = "retired: " + wire.Count(p.cfg.MaxItems, "item") + " (Config.MaxItems)"
			}
			if next := s.replace(life, e, reason); next != e {
				return next
			}
			full, again = nil, time.After(s.delay.NextBackOff())
		case <-again:
			full, again = e.expired, nil
		case <-check:
			if p.idle(e) && p.shrink(s) {
				continue // quit is closed
			}
			if reason := s.whyRetire(e); reason != "" {
				if next := s.replace(life, e, reason); next != e {
					return next
				}
			}
		case <-s.quit:
			s.retire(life, e, "retired: the pool needs fewer workers")
			return nil
		case <-p.stop:
			s.retire(life, e, "closed")
			return nil
		}
	}
}

// whyRetire returns the reason for replacing a worker, empty if there is none.
func (s *supervisor) whyRetire(e *entry) string {
	cfg := &s.pool.cfg
	info := e.worker.Info()
	if age := time.Since(info.Started); cfg.MaxAge > 0 && age > cfg.MaxAge {
		return fmt.Sprintf("retired: %v old, the limit is %v (Config.MaxAge)", age.Round(time.Millisecond), cfg.MaxAge)
	}
	if info.Items > 0 && s.pool.idle(e) { // a worker that has run no item is as good as its replacement
		return fmt.Sprintf("retired: idle for %v (Config.MaxIdle)", cfg.MaxIdle)
	}
	if cfg.MaxRSS > 0 && cfg.Mode == ModeProcess {
		switch rss, err := child.ReadRSS(info.PID); {
		case err != nil: // the worker may hide how much memory it has
			return fmt.Sprintf("retired: %v, the limit is %d bytes resident (Config.MaxRSS)", err, cfg.MaxRSS)
		case rss > cfg.MaxRSS:
			return fmt.Sprintf("retired: %d bytes resident, the limit is %d (Config.MaxRSS)", rss, cfg.MaxRSS)
		}
	}
	return ""
}

// replace starts another worker and then retires this one. If the start fails this one stays.
func (s *supervisor) replace(life context.Context, e *entry, reason string) *entry {
	s.pool.scheduler.beginReplacing(e)
	w, err := s.start(life)
	if err != nil && s.stopped() {
		return e // watch ends the worker
	}
	if err != nil {
		s.pool.cfg.Logger.Warn("replacement did not start", "worker", s.number, "err", err)
		return e
	}
	s.resetDelay()
	next := s.ready(w, nil, true)
	s.retire(life, e, reason)
	return next
}

// retire ends a worker once it has no lease any more. It does not wait for that.
func (s *supervisor) retire(life context.Context, e *entry, reason string) {
	p := s.pool
	s.count(true, reason)
	drained := p.scheduler.retire(e)
	s.stopping.Go(func() {
		select {
		case <-drained:
		case <-e.worker.Gone():
		case <-life.Done():
		}
		ctx, cancel := p.cfg.pulse.WithTimeout(life, p.cfg.TeardownTimeout, context.DeadlineExceeded)
		defer cancel()
		defer context.AfterFunc(ctx, func() {
			if life.Err() == nil {
				p.cfg.Logger.Warn("worker does not end", "worker", s.number, "pid", e.worker.Info().PID, "after", p.cfg.TeardownTimeout, "limit", "Config.TeardownTimeout")
			}
		})()
		e.worker.Stop(ctx, reason)
		s.ended(e, reason)
	})
}

// buryWorker removes a worker that died from the scheduler.
func (s *supervisor) buryWorker(e *entry) {
	s.pool.scheduler.retire(e)
	e.worker.Stop(context.Background(), "") // waits until nothing of it is left
	info := e.worker.Info()
	how := e.worker.Ended()
	s.ended(e, "died")
	s.count(how.Used || time.Since(info.Started) > infancy, how.Reason)
	if how.Hopeless != nil {
		s.pool.refuse(&BrokenError{Err: how.Hopeless})
		s.pool.kill()
	}
}

// ended tells the Observer that a worker has ended.
func (s *supervisor) ended(e *entry, reason string) {
	p := s.pool
	info := e.worker.Info()
	var cause Cause
	if reason == "died" {
		how := e.worker.Ended()
		reason, cause = how.Reason, how.Cause
		p.cfg.Logger.Warn("worker died", "worker", s.number, "pid", info.PID, "err", reason)
	}
	p.cfg.events.put(WorkerEnded{
		At: time.Now(), Worker: s.number, PID: info.PID, Items: info.Items, Traffic: trafficOf(info.Traffic), Reason: reason, Cause: cause,
	})
}

// fruitless counts a worker that ended with nothing done of the batches that it got. It counts each worker once. After too many in a row the pool takes no
// more work. It is called with no run's mutex held.
func (p *Pool) fruitless(e *entry, reason string) {
	if e.fruitless.Swap(true) || isClosed(p.stop) {
		return
	}
	n, most := p.breaker.fruitless.Add(1), brokenAfter*p.scaler.size.Load()
	p.cfg.Logger.Warn("worker ended with nothing done", "worker", e.worker.Info().Number, "in a row", n, "limit", most, "reason", reason)
	if n >= most {
		p.refuse(&BrokenError{Idle: int(n), Err: errors.New(reason)})
	}
}

// count tells the breaker that a worker has ended.
func (s *supervisor) count(well bool, reason string) {
	if n, broken := s.pool.breaker.ended(well); broken {
		s.pool.refuse(&BrokenError{Failures: n, Err: errors.New("worker " + reason)})
	}
}
