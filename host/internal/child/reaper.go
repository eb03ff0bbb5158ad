package child

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/family"
)

const (
	// The search for orphans begins this long after a worker's death. So the replacement starts first, and when several workers die, as at a
	// pool's end, one search covers all of them.
	searchDelay = 100 * time.Millisecond
	// Searches take at most a tenth of one CPU, unless that would make them later than this.
	longestSearchDelay = 500 * time.Millisecond
	// A search that has not killed everything by then gives up. While the pool lives, another search follows.
	searchLimit = time.Second
	// The last search of a pool has more time, because no other follows.
	lastSearchLimit = 5 * time.Second
	// A pool that is older than this has a guard. For younger ones the start of a guard costs too much.
	guardDelay = 100 * time.Millisecond
	// A guard that is killed again and again is restarted ever later, up to this.
	longestGuardDelay = time.Minute
	// A pool that is younger than this searches only among the processes that were started after its first worker. The kernel does not reuse
	// process ids so soon.
	youth = 250 * time.Millisecond
)

// reaper keeps a register of a pool's workers, and kills the processes that workers have started and left behind (orphans).
type reaper struct {
	name   family.Name
	folder string // folder of the pool's sockets; a guard removes it too
	logger hclog.Logger
	opened time.Time

	mu     sync.Mutex
	living map[uint32]*worker
	next   uint32
	first  int // process id of the first worker

	wanted chan struct{} // has room for one: a worker has ended since the last search began
	stop   chan struct{}
	done   sync.WaitGroup
}

// worker is a worker that has not been reaped.
type worker struct {
	pid     int  // 0 if the worker has not been started
	lingers bool // the worker was killed some time ago and is still there
}

// openReaper starts the reaper of a pool whose sockets are in folder.
func openReaper(folder string, logger hclog.Logger) *reaper {
	folder, _ = filepath.Abs(folder) // the guard has another working folder; without an absolute path it removes nothing
	r := &reaper{
		name: family.New(), folder: folder, logger: logger, opened: time.Now(),
		living: map[uint32]*worker{}, wanted: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	if family.Supported {
		r.done.Go(r.watch)
		r.done.Go(func() { family.Search{Name: r.name, Spare: r.awaited}.ReapOrphans(r.stop) })
	}
	return r
}

// close kills all orphans. The workers must be gone.
func (r *reaper) close() {
	close(r.stop)
	r.done.Wait()
}

// entry is a worker's entry in the reaper's register.
type entry struct {
	reaper *reaper
	number uint32
}

// enter registers a worker that is about to be started. The entry stays until the worker's process has been reaped.
func (r *reaper) enter() entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		r.next = (r.next + 1) % family.Numbers
		if _, taken := r.living[r.next]; !taken {
			r.living[r.next] = &worker{}
			return entry{r, r.next}
		}
	}
}

// variable returns the environment variable that marks the worker and all processes that it starts, as KEY=value.
func (e entry) variable() string { return e.reaper.name.Variable(e.number) }

// has reports whether a process has the worker's mark.
func (e entry) has(pid int) bool {
	s := family.Search{Name: e.reaper.name, Of: func(number uint32) bool { return number == e.number }}
	return s.Has(pid)
}

// started is called when the worker's process has just been started.
func (e entry) started(pid int) {
	e.reaper.mu.Lock()
	defer e.reaper.mu.Unlock()
	if w := e.reaper.living[e.number]; w != nil {
		w.pid = pid
	}
	if e.reaper.first == 0 {
		e.reaper.first = pid
	}
	e.reaper.name.Mark(pid, e.number) // after its process id is known: a process that has the mark and is no worker is reaped as an orphan
}

// linger is called when the worker was killed and is still there. A process that it has started may be the reason: a traced process cannot be reaped before its
// tracer has ended or has seen its end.
func (e entry) linger() {
	e.reaper.mu.Lock()
	defer e.reaper.mu.Unlock()
	if w := e.reaper.living[e.number]; w != nil {
		w.lingers = true
		e.reaper.search()
	}
}

// leave is called when the worker is gone.
func (e entry) leave() {
	e.reaper.mu.Lock()
	defer e.reaper.mu.Unlock()
	delete(e.reaper.living, e.number)
	e.reaper.search()
}

// search asks for a search. It is called with mu held.
func (r *reaper) search() {
	select {
	case r.wanted <- struct{}{}:
	default:
	}
}

// left reports whether a worker is gone, or was killed and is still there.
func (r *reaper) left(number uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.living[number]
	return w == nil || w.lingers
}

// awaited reports whether a process is itself a worker, which its own goroutine waits for.
func (r *reaper) awaited(pid int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.living {
		if w.pid == pid {
			return true
		}
	}
	return false
}

// watch searches for orphans and keeps the guard running, until close.
func (r *reaper) watch() {
	var (
		search, guardDue <-chan time.Time
		guard            *family.Guard
		guardGone        <-chan struct{}
		again            = guardDelay
		pause            = searchDelay
	)
	if family.Served.Load() {
		guardDue = time.After(guardDelay)
	}
	for {
		select {
		case <-r.wanted:
			if search == nil {
				search = time.After(pause)
			}
		case <-search:
			search = nil
			begun := time.Now()
			done := r.kill(family.Search{Of: r.left, Limit: searchLimit})
			pause = min(max(searchDelay, 9*time.Since(begun)), longestSearchDelay)
			if !done {
				search = time.After(pause)
			}
		case <-guardDue:
			var err error
			if guard, err = family.OpenGuard(r.name, r.folder); err != nil {
				r.logger.Warn("no guard: what workers start may outlive a host that is killed", "err", err)
				continue
			}
			guardGone = guard.Gone()
			r.logger.Debug("guard started", "pid", guard.PID())
		case <-guardGone:
			again = min(2*again, longestGuardDelay)
			r.logger.Warn("the guard was killed; another follows", "pid", guard.PID(), "in", again)
			guard.Close()
			guard, guardGone, guardDue = nil, nil, time.After(again)
		case <-r.stop:
			s := family.Search{Limit: lastSearchLimit}
			if time.Since(r.opened) < youth {
				r.mu.Lock()
				s.After = r.first
				r.mu.Unlock()
			}
			r.kill(s)
			if guard != nil {
				guard.Close()
			}
			return
		}
	}
}

// kill kills the processes that a search finds, and reports whether none was left in the end.
func (r *reaper) kill(s family.Search) (done bool) {
	s.Name, s.Spare = r.name, r.awaited
	s.Reap = true // this process is their parent now, and nothing else waits for them
	killed, err := s.End()
	if killed > 0 {
		r.logger.Info("ended what workers had left behind", "processes", killed)
	}
	if err != nil {
		r.logger.Warn("what workers left behind may live", "err", err)
	}
	return err == nil
}
