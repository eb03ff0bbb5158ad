//go:build linux && !race

package host_test

import (
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
)

// The race detector has its own ways with memory.
func TestResultsThatFillTheirRoomDoNotPileUp(t *testing.T) {
	const n, most = 400, 150 << 20
	cfg := fake(t, "fills its room")
	cfg.Batch = 1 // what a chunk holds is there together
	p := open(t, cfg)
	through := 0
	more := growth(t, func() {
		for r, err := range typed[[]byte, []byte](p).Stream(t.Context(), slices.Values(numbered(n))) {
			if err != nil || r.Err != nil {
				t.Fatal(err, r.Err)
			}
			through += len(r.Value)
		}
	})
	if through < 2*most || more > most {
		t.Errorf("%d bytes of results: got %d bytes more in memory, want at most %d", through, more, most)
	}
}

// Whatever a worker does with its arena of a GiB, and however often it is replaced: the host holds what it has lent.
func TestAWorkerCannotFillItsHostThroughTheArena(t *testing.T) {
	const most = 100 << 20
	for _, name := range []string{"scribbles, bytes", "fills its arena", "never ends"} {
		t.Run(name, func(t *testing.T) {
			cfg := fake(t, name)
			cfg.Workers, cfg.Batch, cfg.Window = 2, 2, 1
			if name == "never ends" {
				cfg.ItemTimeout = 100 * time.Millisecond
			}
			p := open(t, cfg)
			more := growth(t, func() { checkHonest(t, p, numbered(60), rightBytes) })
			if more > most {
				t.Errorf("got %d bytes more in memory, want at most %d", more, most)
			}
		})
	}
}

// A plugin that says too much to its host does not fill it.
func TestLiesLeaveTheHostSmall(t *testing.T) {
	const most = 100 << 20
	for _, name := range []string{"binary", "endless line", "http2: garbage", "http2: huge headers", "http2: pings", "http2: settings"} {
		t.Run(name, func(t *testing.T) {
			cfg := fake(t, name)
			cfg.StartTimeout = time.Second
			more := growth(t, func() {
				if p, err := host.Open(t.Context(), cfg); err == nil {
					p.Close()
					t.Error("Open: got no error, want one")
				}
			})
			if more > most {
				t.Errorf("got %d bytes more in memory, want at most %d", more, most)
			}
		})
	}
	for _, name := range []string{"too much", "errors by MiB", "endless nothing", "endless progress"} {
		for way, inline := range map[string]bool{"link": false, "stream": true} {
			t.Run(name+"/"+way, func(t *testing.T) {
				cfg := fake(t, name)
				cfg.MaxResultBytes, cfg.ItemTimeout, cfg.Inline = 1<<20, 500*time.Millisecond, inline
				p := open(t, cfg)
				more := growth(t, func() {
					if _, err := value(typed[int, int](p).Do(t.Context(), 1)); err == nil {
						t.Error("Do: got no error, want one")
					}
				})
				if more > most {
					t.Errorf("got %d bytes more in memory, want at most %d", more, most)
				}
			})
		}
	}
}

// growth returns how many bytes of memory this process takes more while f runs, at the most.
func growth(t *testing.T, f func()) int {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak begins anew (proc(5))
		t.Fatal(err)
	}
	before := status(t, "VmRSS")
	f()
	more := status(t, "VmHWM") - before
	t.Logf("%d MiB more in memory", more>>20)
	return more
}

// status returns a size that the kernel says of this process.
func status(t *testing.T, key string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), key+":")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
