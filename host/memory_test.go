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
