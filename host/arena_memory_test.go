//go:build linux && !race

package host_test

import (
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
)

// The race detector has its own ways with memory.
func TestResultsThatFillTheirRoomDoNotPileUp(t *testing.T) {
	const n, most = 400, 150 << 20
	cfg := fake(t, "fills its room")
	cfg.Batch = 1 // what a block holds is there together
	p := open(t, cfg)
	debug.FreeOSMemory()
	before, peak, through := resident(t), 0, 0
	for r, err := range host.Stream[[]byte, []byte](t.Context(), p, slices.Values(numbered(n))) {
		if err != nil || r.Err != nil {
			t.Fatal(err, r.Err)
		}
		through += len(r.Value)
		peak = max(peak, resident(t)-before)
	}
	if through < 2*most || peak > most {
		t.Errorf("%d bytes of results: got %d bytes more in memory, want at most %d", through, peak, most)
	}
	t.Logf("%d MiB of results, at most %d MiB more in memory", through>>20, peak>>20)
}

// resident returns the bytes of this process that are in memory, those that it shares among them.
func resident(t *testing.T) int {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
