package host

import "time"

// State describes a pool at one moment.
type State struct {
	Workers  []WorkerInfo // sorted by number: workers that are ready, and workers that will end once their current batches are done
	Looked   time.Time    // when RSS and CPU of the workers were last read, which is less often than the pool is sampled; zero if they have not been read
	Starting int          // workers that start, up to the end of their set-up
	Delayed  int          // workers whose start waits for a while, because starts have failed, or workers ended with nothing done
	Queued   int          // items that have been read and belong to no batch yet
	Held     int          // items in batches whose results have not been taken; those that are done wait for the order, or for whoever takes them
	Paused   bool         // by Pool.Pause
	Waiting  Waiting
}

// Waiting says what a pool's runs are waiting for.
type Waiting struct {
	For    Wait
	Item   int       // place in the input of the item that the others wait for, if For is WaitOrder; else of the item that has been running for longest; -1 if none is known
	Worker int       // number of the worker that runs the item; 0 if none is known
	Since  time.Time // when the item began; zero if Worker is 0
}

// Wait is what the runs of a pool wait for.
type Wait string

// The values of Wait. If a pool has several runs, the one that makes the most progress counts. In that case the item may belong to another run.
const (
	WaitNothing Wait = ""        // nothing is under way, apart from items of Do and Start that wait for their next attempt
	WaitWorkers Wait = "workers" // every worker is busy, or the items that are left are all under way
	WaitStart   Wait = "start"   // no worker is ready, and some start, or are set up
	WaitRestart Wait = "restart" // no worker is ready, and the next start waits because others failed
	WaitInput   Wait = "input"   // workers are idle because the next item has not been read
	WaitOrder   Wait = "order"   // so many items are done that no more may begin until an earlier item is done
	WaitReader  Wait = "reader"  // so many results are there that no more items may begin until the caller takes some, or only these are left
	WaitRetry   Wait = "retry"   // the items that are left wait for their next attempt
	WaitPaused  Wait = "paused"  // no item runs any more, and Pool.Resume has to be called
)

// waits lists the values of Wait, those of a run that makes progress first.
var waits = []Wait{WaitWorkers, WaitInput, WaitRetry, WaitOrder, WaitReader, WaitStart, WaitRestart, WaitPaused, WaitNothing}

// facts are what has to be known of a pool to say what its runs wait for.
type facts struct {
	ready    int // workers that can get batches
	idle     int // those of them that have a free thread
	leases   int // batches that workers hold
	starting int
	delayed  int
	paused   bool // the pool is paused, and no worker holds a batch any more
	closed   bool // the pool takes no more work, so its workers are not lent
}

// stage is how far a run is.
type stage struct {
	queued, held int  // as in State
	starved      bool // the input has not ended, and no item is there that could begin
	full         bool // the run holds so much that no item may begin
	ready        bool // results are there that can be taken, or are being taken
	over         bool // no more items begin
	next         int  // place in the input of the first item without an outcome, if the results are in order; -1 if not known
	running      int  // batches that have a lane
	again        int  // batches that wait for their next attempt
}

// of returns what a run waits for.
func (f *facts) of(s stage) Wait {
	switch {
	case f.closed || s.over:
		if s.running == 0 {
			return WaitReader
		}
		return WaitWorkers
	case s.full && s.ready, s.ready && s.running == 0 && s.again == 0 && s.queued == 0 && !s.starved:
		return WaitReader
	case f.paused:
		return WaitPaused
	case s.full && s.next >= 0:
		return WaitOrder
	case f.ready == 0 && (s.queued > 0 || s.running > 0):
		return f.forWorker()
	case s.starved && s.running == 0 && s.again > 0:
		return WaitRetry
	case s.starved && (f.idle > 0 || s.running == 0):
		return WaitInput
	case s.running == 0 && s.again > 0:
		return WaitRetry
	default:
		return WaitWorkers
	}
}

// ofSingleItems returns what the items of Do and Start wait for. queue is the number of these items that have no worker yet.
func (f *facts) ofSingleItems(queue int) Wait {
	switch {
	case f.paused && queue > 0:
		return WaitPaused
	case f.ready == 0 && queue > 0:
		return f.forWorker()
	case queue > 0 || f.idle < f.ready:
		return WaitWorkers
	case f.ready == 0 && f.starting > 0:
		return WaitStart
	default:
		return WaitNothing
	}
}

// forWorker returns what a run waits for when no worker is ready.
func (f *facts) forWorker() Wait {
	if f.starting == 0 && f.delayed > 0 {
		return WaitRestart
	}
	return WaitStart
}
