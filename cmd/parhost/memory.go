package main

import (
	"os"
	"runtime/debug"
)

// boundMemory makes Go's collector keep this process to a third of what its cgroups allow, which workers share with it, unless the user has set
// GOMEMLIMIT. A pool bounds by it what its runs hold. Without it the collector lets the heap double, and the kernel kills without a word.
func boundMemory(limit int64) {
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 3)
	}
}
