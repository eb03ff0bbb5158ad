package main

import (
	"os"
	"runtime/debug"
)

// boundMemory sets Go's soft memory limit to a third of the limit of this process's cgroups, because workers share that limit. It does nothing if the
// user has set GOMEMLIMIT. Pools derive the bound of what a run holds from the soft limit. Without it the heap would grow until the kernel kills the process.
func boundMemory(limit int64) {
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 3)
	}
}
