package sandbox

import (
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parhost/parhost/internal/rss"
)

// watchEvery is how often a watch looks. In between a process gets some 100 MiB from the kernel at most.
const watchEvery = 50 * time.Millisecond

// A watch ends a process that has more memory than it may, where no cgroup counts it. RLIMIT_DATA alone bounds what honest programs ask
// for: it does not count what was made read-only after it was written, nor stacks, nor what was made of one by mremap(2).
type watch struct {
	status *os.File // of this very process, whoever has its number later
	stop   chan struct{}
	done   sync.WaitGroup
	killed atomic.Bool
}

// watchMemory begins to watch a process that has been started. The watch is nil if that is over already.
func watchMemory(process *os.Process, limit int64) *watch {
	status, err := os.Open("/proc/" + strconv.Itoa(process.Pid) + "/status")
	if err != nil {
		return nil
	}
	w := &watch{status: status, stop: make(chan struct{})}
	w.done.Go(func() { w.run(process, limit) })
	return w
}

func (w *watch) run(process *os.Process, limit int64) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var text [rss.StatusBytes]byte
	for {
		select {
		case <-w.stop:
			return
		case <-ticker.C:
		}
		n, _ := w.status.ReadAt(text[:], 0)
		if n == 0 { // it has been reaped
			return
		}
		if m, err := rss.Parse(text[:n]); err == nil && m.Anonymous+m.Swapped > limit {
			w.killed.Store(true)
			_ = process.Kill() // which knows if it has ended
			return
		}
	}
}

// close ends the watch.
func (w *watch) close() {
	close(w.stop)
	w.done.Wait()
	_ = w.status.Close()
}
