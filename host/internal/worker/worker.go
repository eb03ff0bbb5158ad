// Package worker defines what the scheduler needs of a worker, and what a worker needs of a batch.
package worker

import (
	"context"
	"errors"
	"time"

	"github.com/parhost/parhost/protocol"
)

// Worker runs items: it is a process or a goroutine.
type Worker interface {
	// Run runs the items of b that have no outcome yet. It returns when each item has one, or when no item runs any more.
	Run(ctx context.Context, b Batch) End
	// HasBegun reports whether the worker may have begun b, rather than holding it behind another batch.
	HasBegun(b Batch) bool
	// Recall asks the worker to hand back a batch that waits in it behind others, if there is one. It does not wait for the answer, but the worker has to read.
	Recall()
	// Info describes the worker.
	Info() Info
	// Running lists the items that run, as far as the worker shows them.
	Running() []Running
	// CancelItem cancels the item at a place in the input, if the item runs. It reports whether it does.
	CancelItem(place int) bool
	// Stack returns the stacks of all that the worker runs. The error matches errors.ErrUnsupported if the worker cannot say.
	Stack(ctx context.Context) (string, error)
	// Failing is closed at the first sign of the worker's end: results may still come, but the worker should get no more batches.
	Failing() <-chan struct{}
	// Gone is closed when the worker will run nothing more.
	Gone() <-chan struct{}
	// Ended says how a worker that is gone ended.
	Ended() Ending
	// Stop lets the worker go once its workload has been torn down, or at once when ctx ends. It returns when nothing of it is left.
	Stop(ctx context.Context, reason string)
}

// Info is a snapshot of a worker.
type Info struct {
	Number  int // number of the worker in its pool, from 1
	PID     int // process id; the host's own for goroutines
	Started time.Time
	Threads int // items that it may run at once
	Items   int // items run so far
	Traffic Traffic
}

// Traffic is the bytes of items and results that went between the host and a worker, by the path that they took.
type Traffic struct{ Messages, Arena, Buffers int64 }

// Running is an item that runs now.
type Running struct {
	Place int // of the item in the input
	Since time.Time
}

// Ending is how a worker ended.
type Ending struct {
	Reason   string
	Cause    protocol.Cause // why the process died; empty for a goroutine
	Used     bool           // the worker was given a batch in its life
	Hopeless error          // why no other worker can replace it; nil if one can
}

// End says how the run of a batch on a worker ended. The zero value says that all items have an outcome.
type End struct {
	Leaving bool   // the worker asks to be replaced
	Death   *Death // the worker died; nil otherwise
	Err     error  // why the run was cancelled
}

// Reason says why the worker runs nothing more. It may be called for an End whose worker died or asks to be replaced.
func (e *End) Reason() string {
	if e.Death != nil {
		return e.Death.Error.Message
	}
	return AskedToLeave
}

// AskedToLeave is the reason of a worker that asks to be replaced.
const AskedToLeave = "retired: asked to be replaced"

// Death is a worker's death, with what it means for one batch. The same Error serves for each item that is blamed.
type Death struct {
	Error   protocol.ItemError // error of a guilty item, without index and attempts
	Outside bool               // another process may have killed the worker, so its item is not to blame
	Verdict Verdict
}

// Gone is the death of a worker that was gone before it got a batch.
func Gone() *Death {
	return &Death{Error: protocol.ItemError{Kind: protocol.KindCrashed, Message: "worker is gone"}, Verdict: Verdict{Unexplained: true}}
}

// ErrStopped is the error of a batch whose worker was stopped at once.
var ErrStopped = errors.New("the worker has been stopped")

// Verdict says what a worker's death means for a batch: which of its items without an outcome is to blame, and how the others run again.
type Verdict struct {
	Outcome Outcome
	Item    int // place in the batch of the item that is Guilty or Suspect
	Begun   int // items without an outcome that had begun, from the first on and without the guilty one; they get one more attempt
	// Crossed says that the batch may have crossed the worker's end on its way, so that the worker never had it. The batch should run again unchanged, but not
	// forever, because the deaths of workers that the batch kills look the same.
	Crossed bool
	// Unexplained says that none of the batches that the worker held can be the cause of its death.
	Unexplained bool
}

// Outcome is what a worker's death means for a batch.
type Outcome int

// The outcomes.
const (
	Innocent   Outcome = iota // none of its items is to blame
	Guilty                    // one item is to blame; the others are innocent
	Suspect                   // one item may be to blame, and so may items of other batches; the others are innocent
	AllSuspect                // any of its items may be to blame
)

// Batch is a number of consecutive items that a worker runs. Places count from 0 within the batch. Outcomes come in order, so the number of items that have one
// is also the place of the next item.
type Batch interface {
	First() int // index of the first item in its run
	Size() int  // items
	Done() int  // items that have an outcome
	Options() *Options

	// Slices returns the items without an outcome, and room for their results, as Go slices. ok is false if the workload's types are not the caller's. With apart
	// the room does not belong to the run, and Store copies results from it: this is for a worker that may still write there after the run has given it up.
	Slices(apart bool) (items, results any, ok bool)
	Store(from, n int, results any, at int)
	// InBuffers returns where the items from a place on lie in the pool's buffers, if the first of them lie there and are large. Otherwise it returns the place up
	// to which Encode should go, which is where such items begin.
	InBuffers(from int, find func(item []byte) (at uint64, ok bool)) (lie Places, to int)
	// EncodedSize returns the bytes of the column that Encode would make, or 0 if only encoding can tell, and about how many bytes the results take.
	EncodedSize(from, to, limit int) (items, results int)
	// Encode encodes items from one place up to another into a column, until limit bytes are reached. The column lies in room if it fits there. A bad item ends
	// the column before it. If the first item is bad, Encode returns its error instead.
	Encode(from, to, limit int, room []byte) (column []byte, n int, bad *protocol.ItemError)
	// Decode reads n results from a column. It skips items that have failed.
	Decode(from, n int, column []byte) error
	// Copies reports whether Decode copies the column at once, without checking its content.
	Copies() bool
	// Fail records the error of the item at a place.
	Fail(at int, e *protocol.ItemError)
	// RequestCredit asks for credit for results of this many bytes. answer has room for one value, and gets one unless the batch ends before.
	RequestCredit(bytes int, answer chan<- Credit)
	// Complete records that the next n items have their outcome. usage is what each item used, nil if that is not known.
	Complete(n int, by Info, run time.Duration, itemNS []uint64, usage []protocol.Usage)
}

// Options say how a batch is run.
type Options struct {
	JSON    bool          // items and results travel as JSON texts
	Timed   bool          // the run wants the time of each item
	Usage   bool          // the run wants to know what each item uses
	Timeout time.Duration // time limit of one item; 0 means none
	CPU     time.Duration // limit of the CPU time of one item; 0 means none
	Budget  time.Duration // time after which the worker hands the rest of the batch back; 0 means no limit
	Credit  int           // bytes of results that may come without a request; 0 means no limit

	Deadline time.Time         // deadline of the run; zero means none
	Metadata map[string]string // metadata of the run; nil means none
	Seed     uint64            // seed of the run's random numbers
	// SeedIndex has the index by which each item of the batch draws its random numbers. It is nil if they draw by their own indexes.
	SeedIndex []uint64
}

// PlaceOf returns the place in the input of the item at a place in a batch.
func PlaceOf(b Batch, at int) int {
	if index := b.Options().SeedIndex; index != nil {
		return int(index[at])
	}
	return b.First() + at
}

// Credit answers a request for credit.
type Credit struct {
	Bytes   int                 // bytes of results that may come
	Stop    bool                // the worker must hand back the items of the batch that it has not begun
	Refused *protocol.ItemError // error of the items of these results, because the run cannot hold them; nil if they may come
}

// Places says where the items of a batch lie in the pool's buffers.
type Places struct{ At, Size []uint64 }

// Bytes returns the size of all items together.
func (p Places) Bytes() (n int64) {
	for _, size := range p.Size {
		n += int64(size)
	}
	return n
}

// Count returns the number of items.
func (p Places) Count() int { return len(p.At) }
