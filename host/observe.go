package host

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Observer sees what happens in a pool: the hook for all numbers and displays. Its method is called from many goroutines at
// once and must return quickly; the pool waits for it. It must not run items on the pool.
//
// A panic in it, and [runtime.Goexit], as testing.T.FailNow calls it, are logged, and the pool goes on. [Pool.Close] and [Pool.Shutdown] may be called in it: see there.
type Observer interface {
	Observe(Event)
}

// Event is one of [WorkerStarted], [WorkerEnded], [BatchDone], [ItemFailed], [ItemRetried] and [ItemProgress].
type Event interface{ event() }

// WorkerStarted says that a worker is ready for items.
type WorkerStarted struct {
	Worker  int // its number in the pool, from 1
	PID     int
	Took    time.Duration // from exec to ready
	Replace bool          // it takes the place of one that ended
}

// WorkerEnded says that a worker is gone.
type WorkerEnded struct {
	Worker int
	PID    int
	Items  int    // that it ran
	Reason string // "closed", "retired: …", or what it died of
}

// BatchDone says that a worker is done with a batch, or with a part of it.
type BatchDone struct {
	Worker int
	PID    int
	First  int // index of the first item in its run
	Items  int
	Wait   time.Duration // from the batch being cut to being sent
	Trip   time.Duration // from being sent to its results being there
	Run    time.Duration // of which the workload took
}

// ItemFailed says that an item has its final error.
type ItemFailed struct{ Err *ItemError }

// ItemRetried says that an item will be begun again.
type ItemRetried struct {
	Err *ItemError // why
	In  time.Duration
}

// ItemProgress is what a running item says of itself.
type ItemProgress struct {
	Worker   int
	Item     int
	Fraction float64 // from 0 to 1
}

func (WorkerStarted) event() {}
func (WorkerEnded) event()   {}
func (BatchDone) event()     {}
func (ItemFailed) event()    {}
func (ItemRetried) event()   {}
func (ItemProgress) event()  {}

// observers counts the calls of an Observer that are under way.
type observers struct {
	mu    sync.Mutex
	calls map[*time.Time]struct{} // by when each began
}

// observe tells the pool's Observer of an event. It is called with no mutex held.
func (c *Config) observe(e Event) {
	if c.Observer == nil {
		return
	}
	begun := time.Now()
	o := c.observing
	o.mu.Lock()
	o.calls[&begun] = struct{}{}
	o.mu.Unlock()
	done := make(chan struct{})
	go func() { // runtime.Goexit would take the pool's own goroutine along
		defer close(done)
		c.call(e)
	}()
	<-done
	o.mu.Lock()
	delete(o.calls, &begun)
	o.mu.Unlock()
}

// call calls the Observer, and logs if that does not return.
func (c *Config) call(e Event) {
	returned := false
	defer func() {
		switch p := recover(); {
		case p != nil:
			c.Logger.Error("Config.Observer panicked", "event", fmt.Sprintf("%T", e), "panic", p, "stack", string(debug.Stack()))
		case !returned:
			c.Logger.Error("Config.Observer ended its goroutine (runtime.Goexit, testing.T.FailNow)", "event", fmt.Sprintf("%T", e))
		}
	}()
	c.Observer.Observe(e)
	returned = true
}

// since reports whether a call is under way that began before a time.
func (o *observers) since(at time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for begun := range o.calls {
		if begun.Before(at) {
			return true
		}
	}
	return false
}
