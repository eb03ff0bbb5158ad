package host

import (
	"context"
	"time"

	"github.com/parhost/parhost/internal/wire"
)

// worker is a place that runs items: a process or a goroutine.
type worker interface {
	// run runs the items of b that have no outcome yet, and returns when each has one, or none is under way any more.
	run(ctx context.Context, b batch) ending
	// hasBegun reports whether the worker may have begun b, rather than holding it behind another batch.
	hasBegun(b batch) bool
	// info describes the worker for people.
	info() WorkerInfo
	// underWay says which items run, as far as the worker shows it.
	underWay() []Running
	// failing is closed at the first sign of the worker's end: what it was given may still come back, but it should get nothing more.
	failing() <-chan struct{}
	// gone is closed when the worker will run nothing any more; obit then says why.
	gone() <-chan struct{}
	obit() string
	// verdict says of a worker that is gone whether it was ever given anything to do, and why none can take its place, if so.
	verdict() (tried bool, hopeless error)
	// end lets the worker go: at once, or when its workload has been torn down. It returns when nothing of it is left.
	end(ctx context.Context, reason string)
}

// batch is consecutive items on their way through a worker. Places count from 0 within the batch; outcomes come in order, so
// the number of those that have one is also the place of the next.
type batch interface {
	first() int   // index of the first item in its run
	size() int    // of the batch
	settled() int // items that have an outcome
	orders() orders

	// native returns the items that have no outcome, and room for their results, as Go slices, if the workload's types are the
	// caller's. apart asks for room of its own, whose results keep takes over: for a worker that may write there too late.
	native(apart bool) (in, out any, ok bool)
	keep(from, n int, out any, at int)
	// spread returns where the items from a place on lie in the pool's buffers, if the first ones do and bringing them would cost. Else
	// it returns the place up to which pack should go: where such items begin.
	spread(from int, find func(item []byte) (at uint64, ok bool)) (there spread, to int)
	// needs returns the bytes that the column takes which pack would make, 0 if only packing tells, and about those of its results.
	needs(from, to, limit int) (items, results int)
	// pack encodes items from one place up to another into a column, until limit bytes are reached: in room if they fit there. A bad
	// item ends the column before it; if it is the first, its error is returned instead.
	pack(from, to, limit int, room []byte) (column []byte, n int, bad *wire.ItemError)
	// unpack takes n results from a column. Items that have failed are skipped.
	unpack(from, n int, column []byte) error
	// copies reports whether unpack copies the column at once, without looking at it.
	copies() bool
	// fail writes down the error of the item at a place.
	fail(at int, e *wire.ItemError)
	// need asks for credit for results of so many bytes. answer has room for one, and gets one unless the batch ends before.
	need(bytes int, answer chan<- answer)
	// settle says that the n items that come next have their outcome.
	settle(n int, by WorkerInfo, run time.Duration, itemNS []uint64)
}

// orders is how a batch is to be run.
type orders struct {
	json    bool          // items and results travel as JSON texts
	timed   bool          // the time of each item is wanted
	timeout time.Duration // of one item; 0 means none
	budget  time.Duration // of the batch; 0 means none
	credit  int           // bytes of results that may come unasked; 0 means no limit

	deadline time.Time         // of the run; zero means none
	metadata map[string]string // of the run; nil means none
	base     *bare             // what a workload on a goroutine sees of the run's context
	seed     *seed             // of the run
}

// ending is how a worker's run of a batch came to its end.
type ending struct {
	leaving bool  // the worker asks to be replaced
	lost    *loss // the worker died; nil otherwise
	err     error // the run was called off: why
}

// reason says in words why the worker runs nothing any more.
func (e *ending) reason() string {
	if e.lost != nil {
		return e.lost.message
	}
	return askedToLeave
}

// loss is what is known of a worker's death.
type loss struct {
	kind     Kind // Crashed, Timeout, OutOfMemory, Oversize: what a guilty item is blamed for
	message  string
	cause    Cause
	exitCode int
	signal   string
	stderr   []string
	outside  bool // somebody else may have ended it, who is no fault of its item's
	dump     string
	usage    *Usage

	begun    bool // the batch may have been running; otherwise none of its items was touched
	unseen   bool // the worker shows what it runs, and has not shown the batch
	orderly  bool // the worker ended its stream as one does that has settled all it began
	answered bool // a batch of the worker may have been the cause of its death
	alone    bool // no other batch may have been running
	ran      int  // the place of the last item that had begun, -1 if none had
	guilty   int  // the place of the item that is known to be the cause, -1 if it is not known
	suspect  int  // the place of the item that is known to have been running, beside others elsewhere; -1 if it is not known
}

// WorkerInfo is a snapshot of one worker.
type WorkerInfo struct {
	Worker  int // its number in the pool, from 1
	PID     int // of its process; the host's own for goroutines
	Mode    Mode
	Started time.Time
	Items   int       // items run so far
	Batches int       // batches under way
	Standby bool      // waits for another worker to end, whose place it then takes
	Running []Running // items that run now, where the worker shows them
	RSS     int64     // resident bytes, without those that it shares with the host; 0 when unknown
}

// Running is an item that runs now.
type Running struct {
	Index int       // in its run
	Since time.Time // when it began or, if the items of its batch are not timed one by one, a little earlier: at most some dozen items
}
