//go:build linux && !race

package host_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
)

// The race detector has its own words for this too.
func init() {
	deeds = append(deeds, deed{name: "no memory left", do: order{Do: "memory"}, kind: host.KindOutOfMemory})
}

// The race detector has its own words for this, and its own ways with memory.
func TestAProcessWithoutMemoryIsOutOfMemory(t *testing.T) {
	p := open(t, host.Config{Workload: chaos})
	got, err := typed[order, string](p).Map(t.Context(), orders(50, map[int]order{20: {Do: "memory"}}))
	errs := checkOthers(t, "Map with one item that takes all memory", got, err)
	if len(errs) != 1 || errs[20] == nil || errs[20].Kind != host.KindOutOfMemory {
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
			_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "memory"}))
			if e := itemError(t, "an item that takes more memory than there is", err, host.KindOutOfMemory); e.Attempts != c.attempts {
				t.Errorf("got %d attempts, want %d", e.Attempts, c.attempts)
			}
		})
	}
}

func TestAResultOfAGiBIsRefusedAndLeavesTheHostSmall(t *testing.T) {
	const size, most = 1 << 30, 64 << 20
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	var free int64
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "MemAvailable: %d kB", &free)
	}
	if free <<= 10; free < 6*size {
		t.Skipf("the worker takes a few GiB, and the machine has %d MiB left", free>>20)
	}
	p := open(t, host.Config{Workload: chaos, Workers: 1})
	more := growth(t, func() {
		within(t, "Map with a result of a GiB", 60*time.Second, func() {
			got, err := typed[order, string](p).Map(t.Context(), orders(30, map[int]order{10: {Do: "huge", N: size}}))
			errs := checkOthers(t, "Map with a result of a GiB", got, err)
			if len(errs) != 1 || errs[10] == nil || errs[10].Kind != host.KindOversize || errs[10].Size != size {
				t.Errorf("got %v, want item 10 oversize, with its size", errs)
			}
		})
	})
	if more > most {
		t.Errorf("the host: got %d MiB more in memory, want at most %d", more>>20, most>>20)
	}
}
