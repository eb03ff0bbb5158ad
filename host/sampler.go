package host

import (
	"slices"
	"time"

	"github.com/parhost/parhost/host/internal/child"
)

// State returns what the pool looks like now. It does not look at the processes: RSS and CPU of the workers are 0. [Pool.Workers] reads them.
func (p *Pool) State() State {
	s := State{
		Workers: p.scheduler.snapshot(p.cfg.Mode, true), Starting: int(p.starting.Load()), Delayed: int(p.delayed.Load()), Waiting: Waiting{Item: -1},
	}
	queue, paused := p.scheduler.queue()
	s.Paused = paused
	f := facts{starting: s.Starting, delayed: s.Delayed, closed: isClosed(p.stop)}
	oldest := Running{Index: -1}
	by := 0
	for _, w := range s.Workers {
		if w.Standby {
			continue
		}
		if !w.Ending {
			f.ready++
			if w.Batches < max(1, w.Threads) {
				f.idle++
			}
		}
		f.leases += w.Batches
		for _, r := range w.Running {
			if oldest.Index < 0 || r.Since.Before(oldest.Since) {
				oldest, by = r, w.Worker
			}
		}
	}
	longest := Waiting{Item: oldest.Index, Worker: by, Since: oldest.Since}
	s.Waiting = longest
	p.scaler.mu.Lock()
	runs := make([]anyRun, 0, len(p.scaler.runs))
	for r := range p.scaler.runs {
		runs = append(runs, r)
	}
	p.scaler.mu.Unlock()
	f.paused = paused && f.leases == 0
	if len(runs) == 0 {
		s.Waiting.For = f.ofSingleItems(queue)
		return s
	}
	best := -1
	for _, r := range runs {
		stage := r.stage()
		s.Queued += stage.queued
		s.Held += stage.held
		wait := f.of(stage)
		if rank := slices.Index(waits, wait); best < 0 || rank < best {
			best, s.Waiting = rank, longest
			if wait == WaitOrder {
				s.Waiting = heldUpBy(stage, s.Workers)
			}
			s.Waiting.For = wait
		}
	}
	return s
}

// heldUpBy returns the item that holds up the order of a run.
func heldUpBy(s stage, workers []WorkerInfo) Waiting {
	w := Waiting{Item: s.next}
	for _, info := range workers {
		for _, r := range info.Running {
			if r.Index == s.next {
				w.Worker, w.Since = info.Worker, r.Since
			}
		}
	}
	return w
}

const (
	// sampleEvery is the time between two events [Sampled] while something is under way, and idleEvery the time while nothing is.
	sampleEvery = 100 * time.Millisecond
	idleEvery   = time.Second
	// lookEvery is the least time between two looks at the workers' processes. The looks take at most lookShare of the time, however many workers there are.
	lookEvery = time.Second
	lookShare = 0.005
)

// sample tells the Observer what the pool looks like, again and again, until the returned function is called.
func (p *Pool) sample() (stop func()) {
	if p.cfg.events == nil {
		return func() {}
	}
	s := sampler{pool: p, over: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
				s.sleep(timer, s.take())
			case <-p.began: // the next sample may be a second away
				if time.Until(s.due) > sampleEvery {
					s.sleep(timer, sampleEvery)
				}
			case <-s.over:
				return
			}
		}
	}()
	return func() {
		close(s.over)
		<-done
	}
}

// sampler takes samples of a pool.
type sampler struct {
	pool   *Pool
	over   chan struct{} // closed when no more samples are wanted
	looked time.Time     // when the processes were looked at
	next   time.Time     // when they are to be looked at again
	known  map[int]usage // by process id
	due    time.Time     // when the next sample is
}

// usage is what a process used when it was looked at.
type usage struct {
	rss int64
	cpu time.Duration
}

// sleep sets when the next sample is taken.
func (s *sampler) sleep(timer *time.Timer, d time.Duration) {
	s.due = time.Now().Add(d)
	timer.Reset(d)
}

// take takes a sample, and returns when the next one is due.
func (s *sampler) take() time.Duration {
	now := time.Now()
	state := s.pool.State()
	if s.pool.cfg.Mode == ModeProcess { // goroutines share one process
		if now.After(s.next) {
			s.look(state.Workers)
			s.looked, s.next = now, now.Add(max(lookEvery, time.Duration(float64(time.Since(now))/lookShare)))
		}
		state.Looked = s.looked
		for i := range state.Workers {
			w := &state.Workers[i]
			used := s.known[w.PID]
			w.RSS, w.CPU = used.rss, used.cpu
		}
	}
	s.pool.cfg.events.sample(Sampled{At: now, State: state})
	if state.Waiting.For == WaitNothing && state.Starting == 0 {
		return idleEvery
	}
	return sampleEvery
}

// look looks at the workers' processes.
func (s *sampler) look(workers []WorkerInfo) {
	s.known = make(map[int]usage, len(workers))
	for i := range workers {
		if isClosed(s.over) { // a process may make a look at it slow
			return
		}
		s.known[workers[i].PID] = usageOf(workers[i].PID)
	}
}

// usageOf reads what a process uses. What cannot be read is 0.
func usageOf(pid int) (u usage) {
	u.rss, _ = child.ReadRSS(pid)
	u.cpu, _ = child.ReadCPU(pid)
	return u
}
