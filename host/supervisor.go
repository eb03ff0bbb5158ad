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
	// The pool gives up after brokenAfter failed starts in a row, if no worker is left, and after so many workers in a row for each of its size
	// that ended with nothing done.
	brokenAfter = 5
	// A worker that dies before it was given anything and before it is this old counts as a failed start.
	infancy = time.Second
	// The memory of workers, and the ages of idle ones, are looked at this often. Others are as old as they are when a batch comes back.
	checkEvery = time.Second
)

// breaker counts the failed starts of a pool, and the starts that came to nothing.
type breaker struct {
	mu       sync.Mutex
	failures int // in a row, of all slots
	living   int // workers that are ready now

	// fruitless is how many workers have ended since an item last had an outcome that got items, ran none, and left no item to blame.
	fruitless atomic.Int64
}

// progress says that an item has its outcome, or has used up an attempt.
func (b *breaker) progress() {
	if b.fruitless.Load() > 0 { // the line of memory stays shared while all goes well
		b.fruitless.Store(0)
	}
}

// troubled reports whether the next worker might come to nothing like the last one.
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

// ended counts a worker's end; well says that it had been of use, so that starting it again is worth the while.
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

// supervisor keeps one worker of a pool alive: it starts it, watches it, buries it and starts the next.
type supervisor struct {
	pool   *Pool
	number int
	quit   chan struct{} // closed when the pool is to do without it
	delay  *backoff.ExponentialBackOff
	stopping  sync.WaitGroup // workers on their way out
}

// run returns when the pool has ended, or does without the slot, and nothing of the slot's workers is left. life ends when the pool is to
// end at once; first gets the outcome of the first start, which opening bounds.
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

// ready puts a started worker into the books.
func (s *supervisor) ready(w worker.Worker, err error, replace bool) *entry {
	if err != nil {
		return nil
	}
	info := w.Info()
	s.pool.breaker.started()
	s.pool.cfg.observe(WorkerStarted{Worker: s.number, PID: info.PID, Took: time.Since(info.Started), Replace: replace})
	most := s.pool.cfg.MaxItems
	if most > 0 {
		most += rand.IntN(1 + most/10) // so that not all are replaced at once
	}
	var oldest time.Time
	if age := s.pool.cfg.MaxAge; age > 0 {
		oldest = info.Started.Add(age)
	}
	return s.pool.scheduler.add(w, most, oldest)
}

// restart starts a worker until that succeeds, waiting longer after each failure. It returns nil if the pool ends first.
func (s *supervisor) restart(life context.Context) *entry {
	p := s.pool
	for !s.stopped() {
		if p.breaker.troubled() {
			select {
			case <-time.After(s.delay.NextBackOff()):
			case <-p.stop:
				return nil
			case <-s.quit:
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
		} else if errors.As(err, new(*sandbox.ChangedError)) && p.breaker.deserted() { // the next one would be no other
			p.refuse(&BrokenError{Err: err})
		}
	}
	return nil
}

// start starts the slot's next worker. A worker that is not needed any more before it is ready is not waited for.
func (s *supervisor) start(life context.Context) (worker.Worker, error) {
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

// resetDelay forgets the delay between starts, unless workers start and then do nothing.
func (s *supervisor) resetDelay() {
	if s.pool.breaker.fruitless.Load() == 0 {
		s.delay.Reset()
	}
}

func (s *supervisor) stopped() bool { return isClosed(s.pool.stop) || isClosed(s.quit) }

// watch returns when the worker is no longer the slot's: nil if it is gone, or the place of its replacement.
func (s *supervisor) watch(life context.Context, e *entry) *entry {
	p := s.pool
	full, failing := e.expired, e.worker.Failing()
	var again <-chan time.Time // when to look at full again, after a replacement that did not start
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
		case <-failing: // long before it is known what it died of
			p.scheduler.exclude(e)
			failing = nil
		case <-e.leaving: // not to be used any more; there is nothing to wait with
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
				continue // to quit
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

// whyRetire says why a worker is to be replaced, if it is.
func (s *supervisor) whyRetire(e *entry) string {
	cfg := &s.pool.cfg
	info := e.worker.Info()
	if age := time.Since(info.Started); cfg.MaxAge > 0 && age > cfg.MaxAge {
		return fmt.Sprintf("retired: %v old, the limit is %v (Config.MaxAge)", age.Round(time.Millisecond), cfg.MaxAge)
	}
	if info.Items > 0 && s.pool.idle(e) { // one that has run nothing has nothing to let go of
		return fmt.Sprintf("retired: idle for %v (Config.MaxIdle)", cfg.MaxIdle)
	}
	if cfg.MaxRSS > 0 && cfg.Mode == Process {
		switch rss, err := child.ReadRSS(info.PID); {
		case err != nil: // it may have hidden how much it has
			return fmt.Sprintf("retired: %v, the limit is %d bytes resident (Config.MaxRSS)", err, cfg.MaxRSS)
		case rss > cfg.MaxRSS:
			return fmt.Sprintf("retired: %d bytes resident, the limit is %d (Config.MaxRSS)", rss, cfg.MaxRSS)
		}
	}
	return ""
}

// replace starts another worker before it lets this one go. If that fails this one stays.
func (s *supervisor) replace(life context.Context, e *entry, reason string) *entry {
	w, err := s.start(life)
	if err != nil && s.stopped() {
		return e // watch sees why
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

// retire lets a worker go once nobody holds it any more.
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

// buryWorker takes a dead worker out of the books.
func (s *supervisor) buryWorker(e *entry) {
	s.pool.scheduler.retire(e)
	e.worker.Stop(context.Background(), "") // it is gone already: this waits for what is left of it
	info := e.worker.Info()
	how := e.worker.Ended()
	s.ended(e, "died")
	s.count(how.Used || time.Since(info.Started) > infancy, how.Reason)
	if how.Hopeless != nil {
		s.pool.refuse(&BrokenError{Err: how.Hopeless})
		s.pool.kill()
	}
}

// ended tells of a worker's end.
func (s *supervisor) ended(e *entry, reason string) {
	p := s.pool
	info := e.worker.Info()
	if reason == "died" {
		reason = e.worker.Ended().Reason
		p.cfg.Logger.Warn("worker died", "worker", s.number, "pid", info.PID, "err", reason)
	}
	p.cfg.observe(WorkerEnded{Worker: s.number, PID: info.PID, Items: info.Items, Reason: reason})
}

// fruitless counts a worker, once, that ended with nothing done of what it was given, and gives up if there are too many in a row. It is called
// with no run's mutex held.
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

// count tells the breaker of a worker's end.
func (s *supervisor) count(well bool, reason string) {
	if n, broken := s.pool.breaker.ended(well); broken {
		s.pool.refuse(&BrokenError{Failures: n, Err: errors.New("worker " + reason)})
	}
}
