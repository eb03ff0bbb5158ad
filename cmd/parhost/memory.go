package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// hostShare is the divisor that makes this process's soft memory limit from the limit of its cgroup. Workers and shared memory, which Go does not
// count, get the rest. With a quarter and with a third the same items succeeded, with a half fewer; but with a third, the largest line that was
// accepted was too much for 8 workers in 200 MiB (docs/RATIONALE.md, "Why a quarter of the cgroup's memory?").
const hostShare = 4

// boundMemory sets Go's soft memory limit to limit / hostShare, where limit is the memory limit of this process's cgroups in bytes. It does nothing
// if the user has set GOMEMLIMIT. Pools derive from the soft limit how many bytes a run may hold. Without a soft limit, the heap could grow until the
// kernel kills the process.
func boundMemory(limit int64) {
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / hostShare)
	}
}

// By default Go collects garbage when there is as much garbage as live memory. A collection costs time for the memory with pointers only, and items
// and results have no pointers: with items of 62 MiB, half of this process was garbage that could have been freed at almost no cost. So above
// cheapHeap bytes of live memory, garbage may reach the size of the memory with pointers plus cheapHeap.
const (
	cheapHeap    = 32 << 20
	leastGarbage = 10 // percent
)

// firstPercent is the GC percentage before the first collection, which then comes at 8 MiB. A short run allocates 4 MiB, and ends 2 ms earlier without a
// collection.
const firstPercent = 200

// collectCheaply makes the garbage collector run more often where a collection is cheap for what it frees. It does nothing if the user has set GOGC.
func collectCheaply() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(firstPercent)
		(&pacer{percent: firstPercent}).watch()
	}
}

// pacer adjusts the GC percentage after each garbage collection.
type pacer struct {
	percent int
	samples [2]metrics.Sample
}

// pace sets the GC percentage for the next collection, after which it is called again.
func (p *pacer) pace() {
	p.samples[0].Name, p.samples[1].Name = "/gc/heap/live:bytes", "/gc/scan/heap:bytes"
	metrics.Read(p.samples[:])
	if want := collectPercent(p.samples[0].Value.Uint64(), p.samples[1].Value.Uint64()); want != p.percent {
		p.percent = want
		debug.SetGCPercent(want)
	}
	p.watch()
}

// watch calls pace after the next garbage collection.
func (p *pacer) watch() {
	cycle := new([16]byte) // unreachable after this function, so the next collection runs its cleanup
	runtime.AddCleanup(cycle, (*pacer).pace, p)
}

// collectPercent returns the GC percentage for live bytes of memory, of which scanned bytes may contain pointers.
func collectPercent(live, scanned uint64) int {
	if live <= cheapHeap {
		return 100
	}
	return int(min(100, max(leastGarbage, 100*(scanned+cheapHeap)/live)))
}
