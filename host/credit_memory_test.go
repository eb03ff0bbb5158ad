//go:build linux && !race

package host_test

import (
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// However many threads a plugin claims, and whatever it sends or asks for while it withholds the first item: a run holds a bounded
// number of bytes, whatever stands around its workers. Without a bound all 31 items of 32 MiB would pile up.
func TestResultsThatPileUpAreBounded(t *testing.T) {
	const n, most = 32, 700 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(25)) // garbage is not what is looked at
	for _, name := range []string{"hoards results", "hoards credit", "goes on when stopped"} {
		t.Run(name, func(t *testing.T) {
			atLevels(t, allLevels[:1], func(t *testing.T, policy sandbox.Policy) {
				cfg := fake(t, name)
				cfg.Sandbox, cfg.Workers, cfg.Batch, cfg.Window, cfg.ItemTimeout = policy, 2, 4, 2, 2*time.Second
				if name == "goes on when stopped" { // it ends its process with the first item
					cfg.Env, cfg.Workers, cfg.Batch, cfg.Retries = append(cfg.Env, "PARHOST_TEST_FLAG="+filepath.Join(t.TempDir(), "begun")), 1, 16, 1
				}
				p := open(t, cfg)
				more := growth(t, func() {
					got := 0
					for _, err := range typed[int, []byte](p).Stream(t.Context(), slices.Values(make([]int, n))) {
						if err != nil {
							t.Fatal(err)
						}
						got++
					}
					if got != n {
						t.Errorf("got %d results, want %d", got, n)
					}
				})
				if more > most {
					t.Errorf("got %d bytes more in memory, want at most %d", more, most)
				}
			})
		})
	}
}

// Results that wait for the caller's own UnmarshalJSON are held no longer than others. Without that, all 300 of 1 MiB would be.
func TestResultsOfTheCallersTypeAreBounded(t *testing.T) {
	const n, size, most = 300, 1 << 20, 200 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(25)) // garbage is not what is looked at
	p := open(t, host.Config{Workload: chaos, Workers: 1, Batch: n})
	items := make([]order, n)
	for i := range items {
		items[i] = order{Do: "huge", N: size}
	}
	more := growth(t, func() {
		got := 0
		for r, err := range typed[order, unmarshaled](p).Stream(t.Context(), slices.Values(items)) {
			if err != nil || r.Err != nil || len(r.Value) != size {
				t.Fatalf("got %d bytes, %v, %v", len(r.Value), r.Err, err)
			}
			got++
		}
		if got != n {
			t.Errorf("got %d results, want %d", got, n)
		}
	})
	if more > most {
		t.Errorf("got %d bytes more in memory, want at most %d", more, most)
	}
}
