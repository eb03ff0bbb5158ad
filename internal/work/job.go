package work

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/pulse"
	"github.com/parhost/parhost/protocol"
)

// Format says how a job's items are stored, and how its results are to be.
type Format int

// The values of Format.
const (
	Native Format = iota // Go slices of the workload's own types
	Packed               // a column of the workload's kinds
	JSON                 // a column of JSON texts
)

// Job is one batch for an [Instance]. Fill in the exported fields, then pass it to Run.
type Job struct {
	First  int // index of the batch's first item in its run
	Count  int
	Format Format

	In, Out   any      // Native: a []In, and a []Out to fill in, both with Count values
	Items     []byte   // Packed, JSON: the items as one column
	InBuffers [][]byte // Packed, JSON: the items one by one, used instead of Items unless nil
	Room      []byte   // Packed, JSON: memory in which results may be put; may be nil

	Timeout   time.Duration // limit for one item; 0 means none
	Budget    time.Duration // after this time no further item begins; 0 means no limit
	Timed     bool          // Part.ItemNS is to be filled in
	Usage     bool          // Part.Usage is to be filled in, if this process runs nothing else and the system counts
	Alone     bool          // a batch function gets its items one by one, as with a Timeout
	MaxResult int           // limit for the bytes of one result; 0 means none

	Seed      *uint64  // seed of the run; nil if it has none
	SeedIndex []uint64 // index of each item for its random source; nil means First, First+1, …

	Metadata   map[string]string                // of the run; must not be changed
	Logger     hclog.Logger                     // tagged with the worker
	OnProgress func(item int, fraction float64) // may be nil
	OnOverdue  func(item int)                   // called once for each item that exceeds Timeout; may be nil
	ReadOnly   func(address uintptr) bool       // reports whether an address lies in memory of items that is read-only; may be nil
	Pulse      *pulse.Pulse                     // of this process, for Timeout; nil means that the process always runs
	Report     func(Part)                       // called with consecutive parts; the last one has Last set

	own         arena.Place                 // the place of the running item, unless shown is set
	shown       atomic.Pointer[arena.Place] // where the place of the running item is kept for others to see; may be nil
	interrupted atomic.Bool                 // an item was canceled: look under mu
	handBack    atomic.Bool                 // no further item may begin
	grouped     atomic.Bool                 // a batch function has all items at once

	mu       sync.Mutex // guards the following fields
	all      bool       // all items are canceled
	canceled map[int]bool
	started  pulse.Mark // when the running item began, if Timeout is set
	overdue  int        // the item that exceeded Timeout, -1 if none
	between  bool       // no item is running, so none can exceed Timeout
	call     *Call      // the context of the running item
}

// Part is the outcome of consecutive items of a job.
type Part struct {
	From, Count int
	Values      []byte // Packed, JSON: the results as one column; nil if they lie in the job's room
	RoomAt      int    // offset of the results in the job's room
	RoomUsed    int    // bytes of the results in the job's room; 0 if they do not lie there
	Errors      []*protocol.ItemError
	Places      []int // the place in the job of each entry of Errors
	ItemNS      []uint64
	RunNS       uint64
	Usage       []protocol.Usage // of each item; nil if it is not known
	Last        bool             // this is the last part; items beyond From+Count were not begun
	Leaving     bool             // the instance must not be used any more
}

// Current returns the place of the running item, or of the item that ran last.
func (j *Job) Current() int { return int(j.running().Item.Load()) }

// Grouped reports whether a batch function has all items at once, so that none of them runs by itself.
func (j *Job) Grouped() bool { return j.grouped.Load() }

// Since returns the time of the last clock reading before the item of [Job.Current] began.
func (j *Job) Since() time.Time { return j.running().When() }

// hide shows others an invalid place: in a batch function all items run at once.
func (j *Job) hide() {
	if place := j.shown.Swap(nil); place != nil {
		place.Item.Store(math.MaxUint64)
	}
}

// Show makes the job keep the place of the running item in place, where others can see it. It must be called before Run.
func (j *Job) Show(place *arena.Place) { j.shown.Store(place) }

func (j *Job) running() *arena.Place {
	if place := j.shown.Load(); place != nil {
		return place
	}
	return &j.own
}

// Cancel cancels the item at a place. If the item is running, its context ends; if it has not begun, it never does.
func (j *Job) Cancel(item int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.canceled == nil {
		j.canceled = map[int]bool{}
	}
	j.canceled[item] = true
	j.interrupted.Store(true) // stored before the call of Current: either this sees the running item, or the item sees the flag
	if j.call != nil && j.Current() == item {
		j.call.end(errCanceled)
	}
}

// CancelAll ends the context of the running item, and cancels all items that have not begun.
func (j *Job) CancelAll() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = true
	j.interrupted.Store(true)
	if j.call != nil {
		j.call.end(errCanceled)
	}
}

// HandBack ends the job after the running item. The remaining items count as not begun.
func (j *Job) HandBack() { j.handBack.Store(true) }

// describe returns the message for a panic value.
func (j *Job) describe(p any) string {
	if fault, ok := p.(interface{ Addr() uintptr }); ok && j.ReadOnly != nil && j.ReadOnly(fault.Addr()) {
		return "the workload wrote to its item, which lies in memory that it can only read"
	}
	return fmt.Sprint(p)
}

// isCanceled reports whether the item at a place has been canceled.
func (j *Job) isCanceled(item int) bool {
	if !j.interrupted.Load() {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all || j.canceled[item]
}
