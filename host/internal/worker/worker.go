// Package worker is what the scheduler asks of a worker, and what a worker asks of a batch.
package worker

import (
	"context"
	"errors"
	"time"

	"github.com/parhost/parhost/internal/wire"
)

// Worker is a place that runs items: a process or a goroutine.
type Worker interface {
	// Run runs the items of b that have no outcome yet. It returns when each has one, or when none runs any more.
	Run(ctx context.Context, b Batch) End
	// HasBegun reports whether the worker may have begun b, rather than holding it behind another batch.
	HasBegun(b Batch) bool
	// Info describes the worker.
	Info() Info
	// Running lists the items that run, as far as the worker shows them.
	Running() []Running
	// Failing is closed at the first sign of the worker's end: results may still come, but the worker should get no more batches.
	Failing() <-chan struct{}
	// Gone is closed when the worker will run nothing any more.
	Gone() <-chan struct{}
	// Ended says how a worker ended that is gone.
	Ended() Ending
	// Stop lets the worker go once its workload has been torn down, or at once when ctx ends. It returns when nothing of it is left.
	Stop(ctx context.Context, reason string)
}

// Info is a snapshot of a worker.
type Info struct {
	Number  int // in its pool, from 1
	PID     int // of its process; the host's own for goroutines
	Started time.Time
	Items   int // run so far
}

// Running is an item that runs now.
type Running struct {
	Index int // in its run
	Since time.Time
}

// Ending is how a worker ended.
type Ending struct {
	Reason   string
	Used     bool  // it was given a batch in its life
	Hopeless error // why no other worker can take its place; nil if one can
}

// End is how the run of a batch on a worker came to its end. The zero value says that all items have an outcome.
type End struct {
	Leaving bool   // the worker asks to be replaced
	Death   *Death // the worker died; nil otherwise
	Err     error  // why the run was called off
}

// Reason says why the worker runs nothing any more. It is for an End whose worker died or asks to be replaced.
func (e *End) Reason() string {
	if e.Death != nil {
		return e.Death.Error.Message
	}
	return AskedToLeave
}

// AskedToLeave is the reason of a worker that asks to be replaced.
const AskedToLeave = "retired: asked to be replaced"

// Death is a worker's death, with what it means for one batch. The same error serves for each item that is blamed for it.
type Death struct {
	Error   wire.ItemError // what a guilty item fails with, without index and attempts
	Outside bool           // another process may have killed the worker, so its item is not to blame
	Verdict Verdict
}

// Gone is the death of a worker that was gone before it got a batch.
func Gone() *Death {
	return &Death{Error: wire.ItemError{Kind: wire.Crashed, Message: "worker is gone"}, Verdict: Verdict{Unexplained: true}}
}

// ErrStopped is the error of a batch whose worker was stopped at once.
var ErrStopped = errors.New("the worker has been stopped")

// Verdict says what a worker's death means for a batch: which of its items without an outcome is to blame, and how the others run again.
type Verdict struct {
	Outcome Outcome
	Item    int // the place in the batch of the item that is Guilty or Suspect
	Begun   int // how many items without an outcome had begun, from the first on and without the guilty one: they get one attempt more
	// Crossed says that the batch may have crossed the worker's end on its way, so that the worker never had it. It should run again as it is, but
	// not for ever: workers that die of it look the same.
	Crossed bool
	// Unexplained says that no batch which the worker held can be what it died of.
	Unexplained bool
}

// Outcome is what a worker's death means for a batch.
type Outcome int

// The outcomes.
const (
	Innocent   Outcome = iota // none of its items is to blame
	Guilty                    // one item is to blame; the others are innocent
	Suspect                   // one item may be to blame, beside items of other batches; the others are innocent
	AllSuspect                // any of its items may be to blame
)

// Batch is consecutive items on their way through a worker. Places count from 0 within the batch. Outcomes come in order, so the number of items that
// have one is also the place of the next.
type Batch interface {
	First() int // index of the first item in its run
	Size() int  // items
	Done() int  // items that have an outcome
	Options() *Options

	// Slices returns the items without an outcome, and room for their results, as Go slices, if the workload's types are the caller's. With apart the room
	// is not the run's own, and Store takes results over from it: for a worker that may write there after it was given up.
	Slices(apart bool) (items, results any, ok bool)
	Store(from, n int, results any, at int)
	// InBuffers returns where the items from a place on lie in the pool's buffers, if the first ones do and are large. Else it returns the place up to which
	// Encode should go: where such items begin.
	InBuffers(from int, find func(item []byte) (at uint64, ok bool)) (lie Places, to int)
	// EncodedSize returns the bytes of the column that Encode would make, 0 if only encoding tells, and about those of its results.
	EncodedSize(from, to, limit int) (items, results int)
	// Encode encodes items from one place up to another into a column, until limit bytes are reached: in room if they fit there. A bad item ends the
	// column before it; if it is the first, its error is returned instead.
	Encode(from, to, limit int, room []byte) (column []byte, n int, bad *wire.ItemError)
	// Decode takes n results from a column. Items that have failed are skipped.
	Decode(from, n int, column []byte) error
	// Copies reports whether Decode copies the column at once, without a look at what it holds.
	Copies() bool
	// Fail records the error of the item at a place.
	Fail(at int, e *wire.ItemError)
	// RequestCredit asks for credit for results of so many bytes. answer has room for one, and gets one unless the batch ends before.
	RequestCredit(bytes int, answer chan<- Credit)
	// Complete says that the next n items have their outcome.
	Complete(n int, by Info, run time.Duration, itemNS []uint64)
}

// Options say how a batch is run.
type Options struct {
	JSON    bool          // items and results travel as JSON texts
	Timed   bool          // the time of each item is wanted
	Timeout time.Duration // of one item; 0 means none
	Budget  time.Duration // of the batch, after which the worker hands the rest back; 0 means none
	Credit  int           // bytes of results that may come without being asked for; 0 means no limit

	Deadline time.Time         // of the run; zero means none
	Metadata map[string]string // of the run; nil means none
	Seed     uint64            // of the run's random numbers
	// SeedIndex lists by which index n items, from the first one on, draw their random numbers. It is nil if they draw by their own indexes.
	SeedIndex func(first, n int) []uint64
}

// Credit answers a request for credit.
type Credit struct {
	Bytes   int             // of results that may come
	Stop    bool            // the worker is to hand back what it has not begun of the batch
	Refused *wire.ItemError // what the items of these results fail with, because the run cannot hold them; nil if they may come
}

// Places is where the items of a batch lie in the pool's buffers.
type Places struct{ At, Size []uint64 }

// Count returns the number of items.
func (p Places) Count() int { return len(p.At) }
