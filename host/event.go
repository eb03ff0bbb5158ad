package host

import "time"

// Event is one of [WorkerStarted], [WorkerEnded], [BatchSent], [BatchDone], [ItemFailed], [ItemRetried], [ItemProgress] and [Sampled]. The field At says when it happened.
type Event interface {
	// When returns the field At.
	When() time.Time
}

// WorkerStarted says that a worker is ready for items.
type WorkerStarted struct {
	At      time.Time
	Worker  int // its number in the pool, from 1
	PID     int
	Threads int           // items that it may run at once
	Took    time.Duration // from exec to ready
	Replace bool          // it takes the place of one that ended
}

// WorkerEnded says that a worker is gone.
type WorkerEnded struct {
	At      time.Time
	Worker  int
	PID     int
	Items   int     // that it ran
	Traffic Traffic // in its life
	Reason  string  // "closed", "retired: …", or what it died of
	Cause   Cause   // why its process died; empty if it was closed or retired, and for goroutines
}

// BatchSent says that a batch is on its way to a worker. The worker may hold it behind other batches. [Sampled] shows which items run.
type BatchSent struct {
	At     time.Time
	Worker int
	PID    int
	Input  int // number of the run in its pool, from 1
	First  int // place of the first item in the input
	Items  int
}

// BatchDone says that a worker is done with a batch, or with a part of it. The batch began about Run before At. A batch that a worker died of, or
// handed back with nothing done, is never done: its items are sent again, or fail.
type BatchDone struct {
	At     time.Time
	Worker int // 0 if the items never reached a worker
	PID    int
	Input  int // number of the run in its pool, from 1
	First  int // place of the first item in the input
	Items  int
	Failed int           // of Items: each of them is the subject of an ItemFailed or ItemRetried
	Wait   time.Duration // from the batch being cut to being sent
	Trip   time.Duration // from being sent to its results being there
	Run    time.Duration // of which the workload took

	// Longest is the item of the batch that took longest, counted from 0: the first one if they were not timed one by one. LongestItem is its text, as
	// Attempt.Item is.
	Longest     int
	LongestItem string

	itemNS []uint64
	places []uint64 // of the items in the input; nil if they are First, First+1, …
}

// Time returns how long the workload took for item i of the batch, counted from 0. It is the mean of the batch if the items were not timed one by one, as
// items that take less than some 10 µs are not.
func (e *BatchDone) Time(i int) time.Duration {
	if i < len(e.itemNS) {
		return timeOf(e.itemNS[i], e.Run)
	}
	return e.Run / time.Duration(max(1, e.Items))
}

// Timed reports whether the items of the batch were timed one by one.
func (e *BatchDone) Timed() bool { return len(e.itemNS) > 0 }

// Place returns the place in the input of item i of the batch, counted from 0. It is First+i, unless the run has only some items of the input ([WithIndex]).
func (e *BatchDone) Place(i int) int {
	if i < len(e.places) {
		return int(e.places[i])
	}
	return e.First + i
}

// Attempt is a failed attempt to run an item.
type Attempt struct {
	Input  int // number of the run in its pool, from 1: items of several runs have the same places
	Place  int // of the item in the input: Err.Index, unless the run has only some items of it ([WithIndex])
	Err    *ItemError
	Item   string        // the first 200 bytes of its text, with "…" if there are more; empty for items of Go types that are no text, number or boolean
	Worker int           // that it ran on; 0 if it never reached one
	Took   time.Duration // in the workload; 0 if that is not known
	Blamed bool          // its worker died of it, so that no BatchDone has it
}

// ItemFailed says that an item has its final error. If the item is part of a batch that is done, this comes right before the BatchDone.
type ItemFailed struct {
	At time.Time
	Attempt
	// Late says that the BatchDone of the item counted it as one that had not failed, because the caller's type refused its result afterwards.
	Late bool
}

// ItemRetried says that an item will be begun again. It comes before the BatchDone as well.
type ItemRetried struct {
	At time.Time
	Attempt
	In time.Duration
}

// ItemProgress is what a running item says of itself.
type ItemProgress struct {
	At       time.Time
	Worker   int
	Item     int     // place of the item in the input
	Fraction float64 // from 0 to 1
}

// Sampled describes the pool at one moment. It comes about ten times a second from the start of the first worker to the end of the last one, but once a second
// while no items run or wait. It is left out if the Observer has not yet been called with the one before.
type Sampled struct {
	At    time.Time
	State State
}

// When implements [Event].
func (e WorkerStarted) When() time.Time { return e.At }

// When implements [Event].
func (e WorkerEnded) When() time.Time { return e.At }

// When implements [Event].
func (e BatchSent) When() time.Time { return e.At }

// When implements [Event].
func (e BatchDone) When() time.Time { return e.At }

// When implements [Event].
func (e ItemFailed) When() time.Time { return e.At }

// When implements [Event].
func (e ItemRetried) When() time.Time { return e.At }

// When implements [Event].
func (e ItemProgress) When() time.Time { return e.At }

// When implements [Event].
func (e Sampled) When() time.Time { return e.At }
