package host

import "time"

// Observer sees what happens in a pool: the hook for all numbers and displays. Its method is called from many goroutines at
// once and must return quickly; the pool waits for it.
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

type ignore struct{}

func (ignore) Observe(Event) {}
