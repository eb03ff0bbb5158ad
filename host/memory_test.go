//go:build linux && !race

package host_test

import (
	"testing"

	"github.com/parhost/parhost/host"
)

// The race detector has its own words for this, and its own ways with memory.
func TestAProcessWithoutMemoryIsOutOfMemory(t *testing.T) {
	p := open(t, host.Config{Workload: chaos})
	got, err := host.Map[order, string](t.Context(), p, orders(50, map[int]order{20: {Do: "memory"}}))
	errs := checkOthers(t, "Map with one item that takes all memory", got, err)
	if len(errs) != 1 || errs[20] == nil || errs[20].Kind != host.OutOfMemory {
		t.Errorf("got %v, want item 20 out of memory", errs)
	}
}

func TestRetriesWithoutMemoryAreCountedApart(t *testing.T) {
	for name, c := range map[string]struct {
		retries, memory int
		attempts        int
	}{
		"as others by default": {retries: 2, attempts: 3},
		"fewer":                {retries: 3, memory: 1, attempts: 2},
		"more":                 {memory: 2, attempts: 3},
		"never":                {retries: 2, memory: -1, attempts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(t, host.Config{Workload: idempotent, Workers: 1, Retries: c.retries, MemoryRetries: c.memory})
			_, err := host.Do[order, string](t.Context(), p, order{Do: "memory"})
			if e := itemError(t, "an item that takes more memory than there is", err, host.OutOfMemory); e.Attempts != c.attempts {
				t.Errorf("got %d attempts, want %d", e.Attempts, c.attempts)
			}
		})
	}
}
