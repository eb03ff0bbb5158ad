package host

import (
	"time"

	"github.com/parhost/parhost/host/internal/worker"
)

// WorkerInfo is a snapshot of one worker.
type WorkerInfo struct {
	Worker  int // number of the worker in the pool, from 1
	PID     int // process id; the host's own for goroutines
	Mode    Mode
	Started time.Time
	Items   int       // items run so far
	Batches int       // batches under way
	Standby bool      // the worker is a standby: it replaces another worker that ends
	Running []Running // items that run now, if the worker shows them
	RSS     int64     // resident bytes, without memory shared with the host; 0 if unknown
}

// Running is an item that runs now.
type Running struct {
	Index int       // index of the item in its run
	Since time.Time // when the item began. If the items of its batch are not timed one by one, this is earlier by at most some dozen items
}

// infoOf describes a worker of a pool that has the given mode.
func infoOf(i worker.Info, mode Mode) WorkerInfo {
	return WorkerInfo{Worker: i.Number, PID: i.PID, Mode: mode, Started: i.Started, Items: i.Items}
}
