package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// hostShare divides the cgroup's limit: the soft limit of this process is one part. Workers and shared memory, which Go does not count, take the rest. A
// quarter and a third bring the same items through, a half fewer; the largest line that a third lets in was too much for 8 workers in 200 MiB
// (docs/RATIONALE.md, "Why a quarter of the cgroup's memory?").
const hostShare = 4

// boundMemory sets Go's soft memory limit to the share of the limit of this process's cgroups that hostShare says. It does nothing if the
// user has set GOMEMLIMIT. Pools derive the bound of what a run holds from the soft limit. Without it the heap would grow until the kernel kills the process.
func boundMemory(limit int64) {
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / hostShare)
	}
}

// By default Go collects garbage when there is as much of it as there is live memory. The cost of a collection depends on the memory that has pointers, and
// items and results have none: with items of 62 MiB half of this process was garbage that would have cost nothing to collect. So from cheapHeap bytes of
// live memory on, garbage may be as much as what has pointers, and cheapHeap more.
const (
	cheapHeap    = 32 << 20
	leastGarbage = 10 // percent
)

// collectCheaply makes the garbage collector run earlier where a collection costs little for what it frees. It does nothing if the user has set GOGC.
func collectCheaply() {
	if os.Getenv("GOGC") == "" {
		(&pacer{percent: 100}).pace()
	}
}

// pacer adapts GOGC after each garbage collection.
type pacer struct {
	percent int
	samples [2]metrics.Sample
}

// pace sets GOGC for the next collection. It is called again after that collection.
func (p *pacer) pace() {
	p.samples[0].Name, p.samples[1].Name = "/gc/heap/live:bytes", "/gc/scan/heap:bytes"
	metrics.Read(p.samples[:])
	if want := collectPercent(p.samples[0].Value.Uint64(), p.samples[1].Value.Uint64()); want != p.percent {
		p.percent = want
		debug.SetGCPercent(want)
	}
	cycle := new([16]byte) // garbage at once, so the next collection finds it
	runtime.AddCleanup(cycle, (*pacer).pace, p)
}

// collectPercent returns how much garbage there may be, in percent of the live bytes, given how many of these have pointers.
func collectPercent(live, scanned uint64) int {
	if live <= cheapHeap {
		return 100
	}
	return int(min(100, max(leastGarbage, 100*(scanned+cheapHeap)/live)))
}
