package sandbox

import (
	"fmt"
	"time"
)

// Cause says in a word why a process ended.
type Cause string

// The causes. The kernel tells of limits only where a cgroup counts; elsewhere a process that ran into one looks like any other.
const (
	CauseExit        Cause = "exit"          // by itself
	CauseSignal      Cause = "signal"        // by a signal that nothing below explains
	CauseOutOfMemory Cause = "out_of_memory" // at its limit of memory
	CausePIDs        Cause = "pids"          // unsuccessfully, after a process or thread was refused to it
	CauseSeccomp     Cause = "seccomp"       // by SIGSYS
	CauseFileSize    Cause = "file_size"     // by SIGXFSZ
	CauseEscape      Cause = "escape"        // killed by its host, because it had left the cgroup that holds its limits
)

// Death is how a process ended.
type Death struct {
	Cause  Cause
	Code   int    // its exit code, -1 after a signal
	Signal string // such as SIGKILL, empty without one
}

func (d Death) String() string {
	if d.Signal != "" {
		return fmt.Sprintf("%s (%s)", d.Cause, d.Signal)
	}
	return fmt.Sprintf("%s (code %d)", d.Cause, d.Code)
}

// Usage is what a worker's cgroup has counted; zero where there is none.
type Usage struct {
	MemoryPeak   int64         // bytes, with files that it has in memory
	OutOfMemory  int64         // processes killed at the limit of memory
	RefusedPIDs  int64         // processes and threads refused at the limit
	Throttled    int64         // periods of 100 ms in which it used up its share of the CPUs
	ThrottledFor time.Duration // how long its threads waited for the next period
}
