package host

import (
	"time"

	"github.com/parhost/parhost/host/internal/worker"
)

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

// infoOf describes a worker of a pool with this mode.
func infoOf(i worker.Info, mode Mode) WorkerInfo {
	return WorkerInfo{Worker: i.Number, PID: i.PID, Mode: mode, Started: i.Started, Items: i.Items}
}
