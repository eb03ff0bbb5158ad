package host

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Observer sees what happens in a pool: the hook for all numbers and displays.
//
// Observe is called with one event after the other, in the order in which they happened and soon afterwards: when [Pool.Shutdown] or [Pool.Close] has
// returned nil it has been called with all of them. The pool does not wait for it. Only when 1024 events wait do runs of many items begin no more batches,
// and [ItemProgress] is dropped. So Observe may call [Typed.Do] and the methods of the pool. It should leave runs of many items to another goroutine.
//
// A panic in it, and [runtime.Goexit], as testing.T.FailNow calls it, are logged, and the pool goes on.
type Observer interface {
	Observe(Event)
}

// ObserverFunc is an [Observer] that is a function.
type ObserverFunc func(Event)

// Observe calls f.
func (f ObserverFunc) Observe(e Event) { f(e) }

// maxEvents is how many events may wait for the Observer before runs of many items begin no more batches, and news of running items are dropped.
const maxEvents = 1024

// events hands what happens in a pool to its Observer, in the order in which it happened. The pool does not wait for the Observer, so that the Observer may
// wait for the pool. A nil *events is for a pool without an Observer.
type events struct {
	observer Observer
	logger   hclog.Logger

	mu      sync.Mutex
	queue   []Event       // that the Observer has not been called with
	running bool          // a goroutine calls the Observer
	since   time.Time     // when the call under way began; zero if none is
	room    chan struct{} // closed once there is room again; nil while there is
	idle    chan struct{} // closed once no event is left; nil if nobody waits for that
	sampled bool          // a Sampled is in the queue
	ended   bool          // the pool has ended, so new events are dropped: a caller may still be taking the last results of its run
}

// put adds an event to the queue. It may be called with any mutex held.
func (q *events) put(e Event) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return
	}
	q.queue = append(q.queue, e)
	if len(q.queue) >= maxEvents && q.room == nil {
		q.room = make(chan struct{})
	}
	if !q.running {
		q.running = true
		go q.deliver()
	}
}

// offer is put for an event that the next one of its kind makes stale. It is dropped if there is no room.
func (q *events) offer(e Event) {
	if q.full() == nil {
		q.put(e)
	}
}

// sample puts a Sampled into the queue, unless the one before is still there.
func (q *events) sample(e Sampled) {
	q.mu.Lock()
	waits := q.sampled
	q.sampled = true
	q.mu.Unlock()
	if !waits {
		q.put(e)
	}
}

// full returns nil if there is room for events, or else a channel that is closed when there is.
func (q *events) full() <-chan struct{} {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.room
}

// deliver calls the Observer until the queue is empty.
func (q *events) deliver() {
	calling := false
	defer func() {
		if calling { // runtime.Goexit in the Observer has ended this goroutine
			go q.deliver()
		}
	}()
	for e := q.next(); e != nil; e = q.next() {
		calling = true
		q.call(e)
		calling = false
	}
}

// next takes the next event off the queue. It returns nil when there is none, and then this goroutine delivers no more.
func (q *events) next() Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) < maxEvents/2 && q.room != nil {
		close(q.room)
		q.room = nil
	}
	if len(q.queue) == 0 {
		q.running, q.since, q.queue = false, time.Time{}, nil
		if q.idle != nil {
			close(q.idle)
			q.idle = nil
		}
		return nil
	}
	e := q.queue[0]
	q.queue[0] = nil
	q.queue, q.since = q.queue[1:], time.Now()
	if _, ok := e.(Sampled); ok {
		q.sampled = false
	}
	return e
}

// call calls the Observer, and logs if that does not return.
func (q *events) call(e Event) {
	returned := false
	defer func() {
		switch p := recover(); {
		case p != nil:
			q.logger.Error("Config.Observer panicked", "event", fmt.Sprintf("%T", e), "panic", p, "stack", string(debug.Stack()))
		case !returned:
			q.logger.Error("Config.Observer ended its goroutine (runtime.Goexit, testing.T.FailNow)", "event", fmt.Sprintf("%T", e))
		}
	}()
	q.observer.Observe(e)
	returned = true
}

// close waits until the Observer has been called with all events, and drops those that come later.
func (q *events) close() {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drain()
	q.ended = true
}

// drain waits until the Observer has been called with all events. Called with mu held, which it gives up meanwhile.
func (q *events) drain() {
	for q.running {
		if q.idle == nil {
			q.idle = make(chan struct{})
		}
		idle := q.idle
		q.mu.Unlock()
		<-idle
		q.mu.Lock()
	}
}

// calledSince reports whether a call of the Observer is under way that began at a time or before.
func (q *events) calledSince(at time.Time) bool {
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.since.IsZero() && !q.since.After(at)
}
