package sandbox

import (
	"fmt"
	"time"

	"github.com/parhost/parhost/protocol"
)

// Death says how a process ended.
type Death struct {
	Cause  protocol.Cause // never CauseTimeout, CauseFlood or CauseProtocol: package sandbox does not know why a host kills
	Code   int            // exit code, -1 after a signal
	Signal string         // such as SIGKILL; empty if there was none
}

func (d Death) String() string {
	if d.Signal != "" {
		return fmt.Sprintf("%s (%s)", d.Cause, d.Signal)
	}
	return fmt.Sprintf("%s (code %d)", d.Cause, d.Code)
}

// Counters is what a worker's cgroup has counted. All fields are 0 if there is no cgroup.
type Counters struct {
	MemoryPeak   int64         // bytes, including the page cache of its files
	OutOfMemory  int64         // processes killed at the memory limit
	RefusedPIDs  int64         // processes and threads refused at the limit
	Throttled    int64         // periods of 100 ms in which it used up its share of the CPUs
	ThrottledFor time.Duration // how long its threads waited for the next period
}
