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
	Threads int           // items that it may run at once
	Items   int           // items run so far
	Batches int           // batches under way
	Standby bool          // the worker is a standby: it replaces another worker that ends
	Ending  bool          // the worker gets no more batches, and ends when those under way have ended; only in State.Workers
	Running []Running     // items that run now, if the worker shows them
	RSS     int64         // resident bytes, without memory shared with the host; 0 if unknown
	CPU     time.Duration // CPU time that the process has used, all its threads together, and its children that have ended; 0 if unknown
	Traffic Traffic
}

// Traffic is the bytes of items and results that went between the host and a worker, by the path that they took. Nothing is sent to a goroutine.
type Traffic struct {
	Messages int64 `json:"messages"` // inside messages
	Arena    int64 `json:"arena"`    // through the arena, memory that the worker shares with the host
	Buffers  int64 `json:"buffers"`  // items read in place, in a [Buffer]
}

func trafficOf(t worker.Traffic) Traffic { return Traffic(t) }

// Running is an item that runs now.
type Running struct {
	Index int       // place of the item in the input: its index in the run, unless the run has only some items of it ([WithIndex])
	Since time.Time // when the item began. If the items of its batch are not timed one by one, this is earlier by at most some dozen items
}

// infoOf describes a worker of a pool that has the given mode.
func infoOf(i worker.Info, mode Mode) WorkerInfo {
	return WorkerInfo{Worker: i.Number, PID: i.PID, Mode: mode, Started: i.Started, Threads: i.Threads, Items: i.Items, Traffic: trafficOf(i.Traffic)}
}
