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
	"github.com/parhost/parhost/internal/wire"
)

// Format says how the items of a job are held, and its results wanted.
type Format int

// The formats.
const (
	Native Format = iota // Go slices of the workload's own types
	Packed               // a column of the workload's kinds
	JSON                 // a column of JSON texts
)

// Job is one batch on its way through an [Instance]. Fill in the exported fields, then hand it to Run.
type Job struct {
	First  int // index of the first item in its run
	Count  int
	Format Format

	In, Out   any      // Native: []In, and []Out to fill, both of Count values
	Items     []byte   // Packed, JSON: the items as one column
	InBuffers [][]byte // Packed, JSON: the items one by one, instead of the column; nil if there is one
	Room      []byte   // Packed, JSON: where results may be put; nil for nowhere

	Timeout   time.Duration // of one item; 0 means none
	Budget    time.Duration // after this long no further item is begun; 0 means never
	Timed     bool          // Part.ItemNS is wanted
	MaxResult int           // bytes of one result; 0 means no limit

	Seed      *uint64  // of the run; nil if it has none
	SeedIndex []uint64 // the index that each item draws by; nil for First, First+1, …

	Metadata   map[string]string                // of the run; nobody changes it
	Logger     hclog.Logger                     // tagged with the worker
	OnProgress func(item int, fraction float64) // may be nil
	OnOverdue  func(item int)                   // called once for each item that passes Timeout; may be nil
	ReadOnly   func(address uintptr) bool       // whether items lie there that can only be read; may be nil
	Pulse      *pulse.Pulse                     // of this process, for Timeout; nil: it always runs
	Report     func(Part)                       // gets consecutive parts, the last one with Last set

	own         arena.Place                 // of the running item
	shown       atomic.Pointer[arena.Place] // where it is kept instead, for others to see
	interrupted atomic.Bool                 // something has been canceled: look under the lock
	handBack    atomic.Bool                 // no further item is to begin

	mu       sync.Mutex // guards what follows
	all      bool       // everything is canceled
	canceled map[int]bool
	started  pulse.Mark // of the running item, when Timeout is set
	overdue  int        // the item that passed Timeout, -1 if none
	between  bool       // no item is running, so none can be late
	call     *Call      // the context of the running item
}

// Part is what became of consecutive items of a job.
type Part struct {
	From, Count int
	Values      []byte // Packed, JSON: the results as one column; nil if they lie in the job's room
	RoomAt      int    // where they lie there
	RoomUsed    int    // and how many bytes they are; 0 if they do not
	Errors      []*wire.ItemError
	Places      []int // of Errors, in the job
	ItemNS      []uint64
	RunNS       uint64
	Last        bool // nothing follows; items beyond From+Count were not begun
	Leaving     bool // the instance must not be used any more
}

// Current is the place of the item that is running, or that ran last.
func (j *Job) Current() int { return int(j.running().Item.Load()) }

// Since is when the clock was last looked at before that item began.
func (j *Job) Since() time.Time { return j.running().When() }

// hide says to whoever looks that nobody knows which item runs: all of a batch function's do.
func (j *Job) hide() {
	if place := j.shown.Swap(nil); place != nil {
		place.Item.Store(math.MaxUint64)
	}
}

// Show keeps the place of the running item where others can see it. It is called before Run.
func (j *Job) Show(place *arena.Place) { j.shown.Store(place) }

func (j *Job) running() *arena.Place {
	if place := j.shown.Load(); place != nil {
		return place
	}
	return &j.own
}

// Cancel ends the item at a place: its context if it is running, itself if it has not begun.
func (j *Job) Cancel(item int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.canceled == nil {
		j.canceled = map[int]bool{}
	}
	j.canceled[item] = true
	j.interrupted.Store(true) // before Current: either we see the item, or it sees us
	if j.call != nil && j.Current() == item {
		j.call.end(errCanceled)
	}
}

// CancelAll ends the running item's context and all items that have not begun.
func (j *Job) CancelAll() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = true
	j.interrupted.Store(true)
	if j.call != nil {
		j.call.end(errCanceled)
	}
}

// HandBack ends the job after the running item: the others count as not begun.
func (j *Job) HandBack() { j.handBack.Store(true) }

// describe says what a panic was about.
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
