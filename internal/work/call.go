package work

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

var (
	errCanceled = errors.New("item was canceled")
	errOverdue  = errors.New("item passed its time limit")
)

// Call is the context of a running item. One Call serves successive items until a workload calls Done or Rand, or the Call is ended. Most workloads never
// do that, so they do not pay for a new context for each item.
//
// Done creates a real context of the standard library on its first call, so that contexts derived from a Call need no goroutine.
type Call struct {
	base context.Context
	job  *Job

	used atomic.Bool // somebody may be watching this call, so it cannot serve another item

	mu     sync.Mutex
	real   context.Context // nil until it is needed
	cancel context.CancelCauseFunc
	cause  error // why the item was ended; nil if it was not
	places []int // places in the job of a batch function's items; nil if a single item runs
	draws  []*rand.Rand
}

type callKey struct{}

// FromContext returns the call that ctx is or derives from, or nil.
func FromContext(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

type loggerKey struct{}

// WithLogger returns a context for a set-up or teardown, whose log lines go to logger.
func WithLogger(ctx context.Context, logger hclog.Logger) context.Context {
	return context.WithValue(ctx, loggerKey{}, logger)
}

// LoggerOf returns the logger for the running item, set-up or teardown that ctx belongs to, or nil.
func LoggerOf(ctx context.Context) hclog.Logger {
	if c := FromContext(ctx); c != nil {
		return c.Logger()
	}
	logger, _ := ctx.Value(loggerKey{}).(hclog.Logger)
	return logger
}

func newCall(base context.Context, j *Job) *Call { return &Call{base: base, job: j} }

// end cancels the call with a cause. The first cause stays.
func (c *Call) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used.Store(true)
	if c.cause == nil {
		c.cause = cause
	}
	if c.cancel != nil {
		c.cancel(cause)
	}
}

// Done is part of [context.Context].
func (c *Call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used.Store(true)
	if c.real == nil {
		c.realize()
	}
	return c.real.Done()
}

// realize creates the real context. It is called with mu held.
func (c *Call) realize() {
	c.real, c.cancel = context.WithCancelCause(c.base)
	if c.cause != nil {
		c.cancel(c.cause)
	}
}

// Err is part of [context.Context].
func (c *Call) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		if errors.Is(c.cause, errOverdue) {
			return context.DeadlineExceeded
		}
		return context.Canceled
	}
	return c.base.Err()
}

// Deadline is part of [context.Context].
func (c *Call) Deadline() (time.Time, bool) {
	j := c.job
	if j.Timeout <= 0 {
		return c.base.Deadline()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	at := j.started.At.Add(j.Timeout)
	if base, ok := c.base.Deadline(); ok && base.Before(at) {
		return base, true
	}
	return at, true
}

// Value is part of [context.Context].
func (c *Call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	c.mu.Lock()
	if c.real == nil && c.cause != nil {
		c.realize() // for context.Cause, which looks up a value of the standard library's contexts
	}
	ctx := c.real
	c.mu.Unlock()
	if ctx != nil {
		return ctx.Value(key)
	}
	return c.base.Value(key)
}

// Logger returns the job's logger, tagged with the index of the running item.
func (c *Call) Logger() hclog.Logger {
	return c.job.Logger.With("item", c.job.First+c.job.Current())
}

// Metadata returns the caller's metadata of the run. It must not be changed.
func (c *Call) Metadata() map[string]string { return c.job.Metadata }

// Progress reports which fraction of the running item is done.
func (c *Call) Progress(fraction float64) {
	if c.job.OnProgress != nil {
		c.job.OnProgress(c.job.Current(), fraction)
	}
}

// Rand returns the random source of the running item. In a batch function, at is the item's index among the items that the function was given.
// Later calls for the same item return the same source.
func (c *Call) Rand(at int) *rand.Rand {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used.Store(true) // so that the next item gets a call, and with it a source, of its own
	if c.draws == nil {
		c.draws = make([]*rand.Rand, max(1, len(c.places)))
	}
	if c.draws[at] == nil {
		place := c.job.Current()
		if c.places != nil {
			place = c.places[at]
		}
		c.draws[at] = c.job.draw(place)
	}
	return c.draws[at]
}

// draw returns a new random source for the item at a place in the job. Without a seed, the source is random.
func (j *Job) draw(place int) *rand.Rand {
	if j.Seed == nil {
		return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	index := uint64(j.First + place)
	if j.SeedIndex != nil {
		index = j.SeedIndex[place]
	}
	return rand.New(rand.NewPCG(scramble(scramble(*j.Seed)+index), scramble(scramble(^*j.Seed)+index)))
}

// scramble spreads neighboring numbers over all 64 bits, because PCGs with similar seeds give similar numbers at first.
//
// It is one step of SplitMix64 (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
func scramble(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
