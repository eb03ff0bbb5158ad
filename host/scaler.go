package host

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// scaler changes the number of a pool's workers. Each worker has a supervisor, the workers that stand by included.
type scaler struct {
	begin func(*supervisor) // runs a supervisor that was added after Open
	size  atomic.Int64      // workers that may be leased; changed with mu held, like width
	width atomic.Int64      // workers that runs reckon with: the size, or the most workers that a pool with MinWorkers may have

	mu          sync.Mutex
	supervisors map[int]*supervisor
	taken       int                 // all numbers up to this one are in supervisors
	runs        map[anyRun]struct{} // that are under way, without those of a single item
}

// anyRun is a run of items of any type.
type anyRun interface {
	widen()       // there may be more workers
	stage() stage // how far it is
}

// Resize changes the number of workers while items run, by the rule of [Config.Workers]; of a pool with [Config.MinWorkers] it changes
// the most that it may have. New workers join in when they are ready. If there are too many, those that hold the fewest batches go, once
// they have ended what they hold.
//
// It does not wait for either. The error is a [*ConfigError] for a number that is not possible, and [ErrClosed] after Shutdown or Close.
func (p *Pool) Resize(workers int) error {
	n, err := CountWorkers(workers)
	switch {
	case err != nil:
		return &ConfigError{"Workers", err.Error()}
	case p.cfg.Mode == ModeSequential && n > 1:
		return &ConfigError{"Workers", "mode sequential has one"}
	case n > maxCount:
		return &ConfigError{"Workers", fmt.Sprintf("%d is more than the limit of %d", n, maxCount)}
	}
	c := &p.scaler
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := p.cfg.checkSupply(n+p.cfg.Standby-len(c.supervisors), len(c.supervisors)); err != nil {
		return err
	}
	c.width.Store(int64(n))
	if p.cfg.MinWorkers > 0 {
		n = min(int(c.size.Load()), n)
	}
	return p.resize(n)
}

// resize sets the number of workers that may be leased. Called with the scaler's mu held.
func (p *Pool) resize(n int) error {
	if isClosed(p.stop) { // with mu held by whoever closes it, so that no supervisor begins after the last one has ended
		return ErrClosed
	}
	c := &p.scaler
	c.size.Store(int64(n))
	p.scheduler.resize(n)
	for len(c.supervisors) < n+p.cfg.Standby {
		p.addSupervisor(c.begin)
	}
	if extra := len(c.supervisors) - n - p.cfg.Standby; extra > 0 {
		holds := p.scheduler.holds()
		slots := slices.SortedFunc(maps.Values(c.supervisors), func(a, b *supervisor) int {
			return cmp.Or(cmp.Compare(holds[a.number], holds[b.number]), cmp.Compare(b.number, a.number))
		})
		for _, s := range slots[:extra] {
			c.removeSupervisor(s)
		}
	}
	for r := range c.runs {
		r.widen()
	}
	return nil
}

// addSupervisor makes a supervisor with the first free number, and runs it. Called with the scaler's mu held.
func (p *Pool) addSupervisor(run func(*supervisor)) {
	c := &p.scaler
	for c.supervisors[c.taken+1] != nil {
		c.taken++
	}
	number := c.taken + 1
	s := &supervisor{pool: p, number: number, quit: make(chan struct{})}
	if c.supervisors == nil {
		c.supervisors = map[int]*supervisor{}
	}
	c.supervisors[number] = s
	p.supervisors.Go(func() { run(s) })
}

// removeSupervisor ends a supervisor once its worker has ended the batches that it holds. Called with mu held.
func (c *scaler) removeSupervisor(s *supervisor) {
	delete(c.supervisors, s.number)
	c.taken = min(c.taken, s.number-1)
	close(s.quit)
}

// subscribe adds a run to those that are told of more workers, and asked how far they are, until the returned function is called.
func (c *scaler) subscribe(r anyRun) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs == nil {
		c.runs = map[anyRun]struct{}{}
	}
	c.runs[r] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.runs, r)
	}
}

// shrink removes a supervisor whose worker has been idle, unless the pool is at Config.MinWorkers, and reports whether it did.
func (p *Pool) shrink(s *supervisor) bool {
	c := &p.scaler
	c.mu.Lock()
	defer c.mu.Unlock()
	n := int(c.size.Load())
	if p.cfg.MinWorkers == 0 || n <= p.cfg.MinWorkers || c.supervisors[s.number] != s {
		return false
	}
	c.size.Store(int64(n - 1))
	p.scheduler.resize(n - 1)
	c.removeSupervisor(s)
	return true
}

// crowdedFor is how long batches have to wait for a free worker before the pool starts another one. It is longer than a start takes, so that short runs do
// not start workers that they will not need.
const crowdedFor = 50 * time.Millisecond

// grow makes the pool larger as long as batches wait for workers: at most to twice its size at a time, and never beyond its width.
func (p *Pool) grow() {
	c := &p.scaler
	for {
		select {
		case <-p.scheduler.crowded:
		case <-p.stop:
			return
		}
		select {
		case <-time.After(crowdedFor):
		case <-p.stop:
			return
		}
		if waiting, paused := p.scheduler.queue(); waiting > 0 && !paused {
			c.mu.Lock()
			n := int(c.size.Load())
			if next := min(n+min(waiting, n), int(c.width.Load())); next > n {
				_ = p.resize(next) // the pool is closed: the next look at stop ends this
			}
			c.mu.Unlock()
		}
	}
}

// width is how many workers runs reckon with.
func (p *Pool) width() int { return int(p.scaler.width.Load()) }

// idle reports whether a worker has been idle for as long as it may.
func (p *Pool) idle(e *entry) bool { return p.cfg.MaxIdle > 0 && p.scheduler.idle(e) > p.cfg.MaxIdle }
