package host

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/family"
)

const (
	// A worker's death is followed by a search for what it left behind, but not at once: the one that takes its place starts first, and
	// when several die, as at a pool's end, one search does for all.
	searchDelay = 100 * time.Millisecond
	// Searches take a tenth of one CPU at the most, unless that makes them later than this.
	longestSearchDelay = 500 * time.Millisecond
	// A search that has not ended all by then gives up. While the pool lives another one follows.
	searchLimit = time.Second
	// The last search of a pool has longer: none follows.
	lastSearchLimit = 5 * time.Second
	// A pool that is older than this has a guard; younger ones are not worth its start.
	guardDelay = 100 * time.Millisecond
	// A guard that is ended again and again is started ever later, up to this.
	longestGuardDelay = time.Minute
	// A pool that is younger than this searches only among the processes that were started since. The kernel does not come round to the
	// same numbers so soon.
	youth = 250 * time.Millisecond
)

// kin keeps account of a pool's workers, and ends what those have started that are gone.
type kin struct {
	name   family.Name
	folder string // which a guard removes too
	logger hclog.Logger
	opened time.Time

	mu     sync.Mutex
	living map[uint32]*member
	next   uint32
	first  int // process id of the first worker

	died chan struct{} // has a word when there is a reason for a search that the last one did not know
	stop chan struct{}
	done sync.WaitGroup
}

// member is a worker that has not been reaped.
type member struct {
	pid     int  // 0: it has not been started
	lingers bool // it has been killed for some time
}

func openKin(folder string, logger hclog.Logger) *kin {
	folder, _ = filepath.Abs(folder) // the guard is in another; without one it removes nothing
	k := &kin{
		name: family.New(), folder: folder, logger: logger, opened: time.Now(),
		living: map[uint32]*member{}, died: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	if family.Supported {
		k.done.Go(k.watch)
		k.done.Go(func() { family.Search{Name: k.name, Spare: k.awaited}.ReapOrphans(k.stop) })
	}
	return k
}

// close ends all that workers have left behind. They must be gone themselves.
func (k *kin) close() {
	close(k.stop)
	k.done.Wait()
}

// relative is a worker as one of the kin.
type relative struct {
	kin    *kin
	number uint32
}

// expect returns a number for a worker that is going to be started, which must leave in the end.
func (k *kin) expect() relative {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		k.next = (k.next + 1) % family.Numbers
		if _, taken := k.living[k.next]; !taken {
			k.living[k.next] = &member{}
			return relative{k, k.next}
		}
	}
}

// variable is the worker's mark in its environment.
func (r relative) variable() string { return r.kin.name.Variable(r.number) }

// has reports whether a process bears the worker's mark.
func (r relative) has(pid int) bool {
	s := family.Search{Name: r.kin.name, Of: func(number uint32) bool { return number == r.number }}
	return s.Has(pid)
}

// born is called when the worker's process has just been started.
func (r relative) born(pid int) {
	r.kin.mu.Lock()
	defer r.kin.mu.Unlock()
	if m := r.kin.living[r.number]; m != nil {
		m.pid = pid
	}
	if r.kin.first == 0 {
		r.kin.first = pid
	}
	r.kin.name.Mark(pid, r.number) // after its number is known: who has the mark and is not awaited is reaped as an orphan
}

// linger is called when the worker was killed and is still there. What it has started may keep it: nobody can reap a process that is traced
// before its tracer has ended or has seen its end.
func (r relative) linger() {
	r.kin.mu.Lock()
	defer r.kin.mu.Unlock()
	if m := r.kin.living[r.number]; m != nil {
		m.lingers = true
		r.kin.wake()
	}
}

// leave is called when the worker is gone.
func (r relative) leave() {
	r.kin.mu.Lock()
	defer r.kin.mu.Unlock()
	delete(r.kin.living, r.number)
	r.kin.wake()
}

// wake asks for a search. Called with mu held.
func (k *kin) wake() {
	select {
	case k.died <- struct{}{}:
	default:
	}
}

// left reports whether a worker is gone, or as good as that.
func (k *kin) left(number uint32) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.living[number]
	return m == nil || m.lingers
}

// awaited reports whether a process is a worker itself, which has somebody who kills it and waits for it.
func (k *kin) awaited(pid int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.living {
		if m.pid == pid {
			return true
		}
	}
	return false
}

// watch looks for what workers leave behind, and keeps the guard, until close.
func (k *kin) watch() {
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
		case <-k.died:
			if search == nil {
				search = time.After(pause)
			}
		case <-search:
			search = nil
			begun := time.Now()
			done := k.end(family.Search{Of: k.left, Limit: searchLimit})
			pause = min(max(searchDelay, 9*time.Since(begun)), longestSearchDelay)
			if !done {
				search = time.After(pause)
			}
		case <-guardDue:
			var err error
			if guard, err = family.OpenGuard(k.name, k.folder); err != nil {
				k.logger.Warn("no guard: what workers start may outlive a host that is killed", "err", err)
				continue
			}
			guardGone = guard.Gone()
			k.logger.Debug("guard started", "pid", guard.PID())
		case <-guardGone:
			again = min(2*again, longestGuardDelay)
			k.logger.Warn("the guard was ended by somebody; another follows", "pid", guard.PID(), "in", again)
			guard.Close()
			guard, guardGone, guardDue = nil, nil, time.After(again)
		case <-k.stop:
			s := family.Search{Limit: lastSearchLimit}
			if time.Since(k.opened) < youth {
				k.mu.Lock()
				s.After = k.first
				k.mu.Unlock()
			}
			k.end(s)
			if guard != nil {
				guard.Close()
			}
			return
		}
	}
}

// end kills the processes that a search is for, and reports whether it has met none in the end.
func (k *kin) end(s family.Search) (done bool) {
	s.Name, s.Spare = k.name, k.awaited
	s.Reap = true // nobody else waits for those that are left
	ended, err := s.End()
	if ended > 0 {
		k.logger.Info("ended what workers had left behind", "processes", ended)
	}
	if err != nil {
		k.logger.Warn("what workers left behind may live", "err", err)
	}
	return err == nil
}
