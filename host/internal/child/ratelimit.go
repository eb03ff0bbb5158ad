package child

import (
	"bytes"
	"io"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// A process's output is read at most at this rate, in bytes per second. A process that writes faster has to wait, and its host keeps most of
	// its CPU time.
	outputRate = 32 << 20
	// Each line counts as this many bytes more, because it costs its host that much.
	lineCost = 256
	// Bytes that a process may write at once without waiting: what outputRate allows in a quarter of a second.
	outputBurst = outputRate / 4
	// QuietRate is the rate of output, in bytes per second, that is never a flood, however long it goes on.
	QuietRate = 4 << 20
)

// rateLimiter limits how much output of a process its host reads, from stdout and stderr together.
type rateLimiter struct {
	output  *rate.Limiter
	flood   *rate.Limiter
	flooded func()          // called once, when the process has written too much
	once    sync.Once       // for the call of flooded
	exited  <-chan struct{} // closed when the process has ended: from then on reads do not wait
}

// newRateLimiter returns a limiter that calls flooded when a process has written more than most bytes beyond QuietRate.
func newRateLimiter(most int, flooded func()) *rateLimiter {
	return &rateLimiter{output: rate.NewLimiter(outputRate, outputBurst), flood: rate.NewLimiter(QuietRate, most), flooded: flooded}
}

// reader limits the rate of r.
func (l *rateLimiter) reader(r io.Reader) io.Reader { return &limitedReader{r, l} }

type limitedReader struct {
	r io.Reader
	l *rateLimiter
}

func (r *limitedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if wait := r.l.take(time.Now(), n, bytes.Count(p[:n], []byte{'\n'})); wait > 0 {
		select {
		case <-time.After(wait):
		case <-r.l.exited:
		}
	}
	return n, err
}

// take counts what was read, and returns how long the reader has to wait before the next read.
func (l *rateLimiter) take(now time.Time, size, lines int) (wait time.Duration) {
	for cost := size + lines*lineCost; cost > 0; cost -= outputBurst { // a limiter refuses more than its burst at once
		wait = l.output.ReserveN(now, min(cost, outputBurst)).DelayFrom(now)
	}
	if !l.flood.AllowN(now, size) {
		l.once.Do(l.flooded)
	}
	return wait
}
