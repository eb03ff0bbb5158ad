package sandbox

import (
	"fmt"
	"time"
)

// Cause is one word for why a process ended.
type Cause string

// The causes. The kernel reports a reached limit only if a cgroup enforces it. Otherwise a process that reached a limit looks like any other.
const (
	CauseExit        Cause = "exit"          // it exited by itself
	CauseSignal      Cause = "signal"        // a signal for which no other cause is known
	CauseOutOfMemory Cause = "out_of_memory" // it reached its memory limit
	CausePIDs        Cause = "pids"          // it exited with an error after a process or thread was refused to it
	CauseSeccomp     Cause = "seccomp"       // SIGSYS
	CauseFileSize    Cause = "file_size"     // SIGXFSZ
	CauseEscape      Cause = "escape"        // its host killed it, because it had left the cgroup that holds its limits
)

// Death says how a process ended.
type Death struct {
	Cause  Cause
	Code   int    // exit code, -1 after a signal
	Signal string // such as SIGKILL; empty if there was none
}

func (d Death) String() string {
	if d.Signal != "" {
		return fmt.Sprintf("%s (%s)", d.Cause, d.Signal)
	}
	return fmt.Sprintf("%s (code %d)", d.Cause, d.Code)
}

// Usage is what a worker's cgroup has counted. All fields are 0 if there is no cgroup.
type Usage struct {
	MemoryPeak   int64         // bytes, including the page cache of its files
	OutOfMemory  int64         // processes killed at the memory limit
	RefusedPIDs  int64         // processes and threads refused at the limit
	Throttled    int64         // periods of 100 ms in which it used up its share of the CPUs
	ThrottledFor time.Duration // how long its threads waited for the next period
}
