package sandbox

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parhost/parhost/internal/rss"
)

// watchEvery is how often a watch looks. In between a process gets some 100 MiB from the kernel at most.
const watchEvery = 50 * time.Millisecond

// A watch kills a process that has more memory than it may, or that has left its cgroup.
//
// It looks at memory where no cgroup counts it: RLIMIT_DATA alone bounds what honest programs ask for, but does not count what was made
// read-only after it was written, nor stacks, nor what was made of one by mremap(2), nor page tables. It looks at memory and at the cgroup at level off, where
// a plugin that may write to cgroups can leave its own, or change its limits.
type watch struct {
	process *rss.Process
	limit   int64  // of memory, 0 for none
	home    []byte // its cgroups at first, nil if it may leave them
	away    bool   // it was somewhere else at the last look
	stop    chan struct{}
	done    sync.WaitGroup
	killed  atomic.Pointer[Cause] // why the watch has killed the process
}

// openWatch opens what is to be looked at of a process. If there is a launcher, that is done before it becomes the plugin, which could hide
// itself. The error matches [rss.ErrEnded] if the process has ended.
func openWatch(pid int, limit int64, stay bool) (*watch, error) {
	process, err := rss.Open(pid)
	if err != nil {
		return nil, err
	}
	w := &watch{process: process, limit: limit, stop: make(chan struct{})}
	if stay {
		if w.home, err = process.Cgroups(); err != nil {
			return nil, errors.Join(err, process.Close())
		}
	}
	return w, nil
}

// begin begins to watch.
func (w *watch) begin(process *os.Process) {
	w.done.Go(func() {
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-ticker.C:
			}
			cause, ended := w.look()
			if cause != "" {
				w.killed.Store(&cause)
				_ = process.Kill() // which knows if it has ended
			}
			if cause != "" || ended {
				return
			}
		}
	})
}

// look says why the process is to be killed, if it is, and whether it has ended.
func (w *watch) look() (cause Cause, ended bool) {
	m, err := w.process.Read()
	switch {
	case errors.Is(err, rss.ErrEnded):
		return "", true
	case w.limit > 0 && (err != nil || m.Anonymous+m.Swapped+m.Tables > w.limit): // what cannot be read is hidden
		return CauseOutOfMemory, false
	case w.home == nil:
		return "", false
	}
	now, err := w.process.Cgroups()
	// A thread that is ending seems to be in no cgroup of version 1: another one is looked at the next time.
	away := err != nil || !stays(w.home, now)
	if away && w.away {
		return CauseEscape, false
	}
	w.away = away
	return "", false
}

// stays reports whether a process is still where it was at first, or below that, in each hierarchy.
func stays(home, now []byte) bool {
	places := map[string]string{}
	for line := range bytes.Lines(now) {
		hierarchy, place := placed(line)
		places[hierarchy] = place
	}
	for line := range bytes.Lines(home) {
		if hierarchy, place := placed(line); !within(places[hierarchy], place) {
			return false
		}
	}
	return true
}

// placed cuts a line of /proc/PID/cgroup, such as "4:memory:/path", into a hierarchy and the place there. A folder that has been removed has
// a mark (cgroups(7)).
func placed(line []byte) (hierarchy, place string) {
	f := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
	if len(f) < 3 {
		return "", ""
	}
	return f[0], strings.TrimSuffix(f[2], " (deleted)")
}

// close ends the watch.
func (w *watch) close() {
	close(w.stop)
	w.done.Wait()
	_ = w.process.Close()
}
