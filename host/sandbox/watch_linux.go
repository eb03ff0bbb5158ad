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
	"github.com/parhost/parhost/protocol"
)

// watchEvery is how often a watch reads. Between two reads a process gets about 100 MiB from the kernel at most.
const watchEvery = 50 * time.Millisecond

// A watch kills a process that uses more memory than it may, or that has left its cgroup.
//
// It reads memory where no cgroup counts it. RLIMIT_DATA alone limits honest programs, but it does not count memory that was made read-only after it
// was written, stacks, memory that mremap(2) made of a stack, or page tables. At level off the watch reads memory and the cgroup, because a plugin
// that may write to cgroups can leave its own or change its limits.
type watch struct {
	process *rss.Process
	limit   int64  // of memory in bytes, 0 for none
	home    []byte // its cgroups at the start, nil if it may leave them
	away    bool   // it was outside of them at the last look
	stop    chan struct{}
	done    sync.WaitGroup
	killed  atomic.Pointer[protocol.Cause] // why the watch has killed the process
}

// openWatch opens the files that tell about a process. If there is a launcher, this happens before the launcher becomes the plugin, which could hide
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

// begin starts the goroutine that watches.
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
				_ = process.Kill() // fails if the process has ended, which is fine
			}
			if cause != "" || ended {
				return
			}
		}
	})
}

// look returns the reason to kill the process, or empty, and whether the process has ended.
func (w *watch) look() (cause protocol.Cause, ended bool) {
	m, err := w.process.Read()
	switch {
	case errors.Is(err, rss.ErrEnded):
		return "", true
	case w.limit > 0 && (err != nil || m.Anonymous+m.Swapped+m.Tables > w.limit): // a process whose memory cannot be read is hiding it
		return protocol.CauseOutOfMemory, false
	case w.home == nil:
		return "", false
	}
	now, err := w.process.Cgroups()
	// A thread that is ending seems to be in no cgroup of version 1. So the process counts as escaped only if two looks in a row find it away.
	away := err != nil || !stays(w.home, now)
	if away && w.away {
		return protocol.CauseEscape, false
	}
	w.away = away
	return "", false
}

// stays reports whether a process is still in its first cgroup, or below it, in each hierarchy.
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

// placed splits a line of /proc/PID/cgroup, such as "4:memory:/path", into the hierarchy and the path in it. The kernel appends "(deleted)" to a
// removed folder (cgroups(7)); placed drops that mark.
func placed(line []byte) (hierarchy, place string) {
	f := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
	if len(f) < 3 {
		return "", ""
	}
	return f[0], strings.TrimSuffix(f[2], " (deleted)")
}

// close stops the watch and waits for its goroutine.
func (w *watch) close() {
	close(w.stop)
	w.done.Wait()
	_ = w.process.Close()
}
