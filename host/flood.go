package host

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/parhost/parhost/internal/wire"
)

const (
	// So many bytes a second are read of what a process writes: it waits, and its host keeps most of its time.
	outputRate = 32 << 20
	// A line costs its host as much as so many bytes more.
	lineCost = 256
	// Who has been quiet may write for so long at once without waiting.
	outputBurst = 250 * time.Millisecond
	// So many bytes a second are no flood, however long they go on.
	quietRate = 4 << 20
)

// valve bounds what a process makes its host read: stdout and stderr together.
type valve struct {
	most    int64           // bytes beyond quietRate
	flooded func()          // called once, when there are more
	exited  <-chan struct{} // closed when there is nothing to bound any more

	mu    sync.Mutex
	paid  time.Time // up to when the rate covers what was read
	ahead int64     // bytes beyond quietRate
	at    time.Time // when ahead was counted
	over  bool
}

// reader lets what r has to say through the valve.
func (v *valve) reader(r io.Reader) io.Reader { return &valveReader{r, v} }

type valveReader struct {
	r io.Reader
	v *valve
}

func (r *valveReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if wait := r.v.take(time.Now(), int64(n), int64(bytes.Count(p[:n], []byte{'\n'}))); wait > 0 {
		select {
		case <-time.After(wait):
		case <-r.v.exited:
		}
	}
	return n, err
}

// take counts what was read, and returns how long to wait for the next.
func (v *valve) take(now time.Time, size, lines int64) (wait time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if start := now.Add(-outputBurst); v.paid.Before(start) {
		v.paid = start
	}
	v.paid = v.paid.Add(time.Duration(size+lines*lineCost) * time.Second / outputRate)
	v.ahead = max(0, v.ahead-int64(now.Sub(v.at).Seconds()*quietRate)) + size
	v.at = now
	if v.ahead > v.most && !v.over {
		v.over = true
		v.flooded()
	}
	return v.paid.Sub(now)
}

// flood ends a worker that writes without end.
func (p *process) flood() {
	p.decide(&fate{kind: wire.Crashed, cause: CauseFlood, guilty: -1, message: fmt.Sprintf(
		"worker flooded its output: more than %d bytes (Config.MaxOutputBytes) beyond %d a second", p.cfg.MaxOutputBytes, quietRate)})
	p.child.kill() // its stream ends with it
}
