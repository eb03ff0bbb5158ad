package host_test

import (
	"slices"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
)

// The last item of a batch may be the one that runs again: what is left of the batch has an outcome then.
func TestTheLastItemOfABatchRunsAgain(t *testing.T) {
	for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine, host.ModeSequential} {
		for name, late := range map[string][]int{"the last": {3, 7}, "the last two": {2, 3}, "all": {0, 1, 2, 3, 4, 5, 6, 7}, "the first and the last": {0, 3, 4, 7}} {
			t.Run(string(mode)+"/"+name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				items := make([]order, 8)
				for i := range items {
					items[i].Do = "echo"
					if slices.Contains(late, i) {
						items[i] = order{Do: "late once", S: dir, N: i}
					}
				}
				p := open(t, host.Config{Workload: chaos, Mode: mode, Workers: 2, Batch: 4, ItemTimeout: 200 * time.Millisecond, Retries: 1, RetryAlways: true})
				if _, err := typed[order, string](p).Map(t.Context(), items); err != nil {
					t.Errorf("Map: %v", err)
				}
				for i := range items {
					items[i].N += len(items)
				}
				n := 0
				for r, err := range typed[order, string](p).Unordered(t.Context(), slices.Values(items)) {
					if err != nil || r.Err != nil {
						t.Fatalf("Unordered: %v, %v", err, r.Err)
					}
					n++
				}
				if n != len(items) {
					t.Errorf("Unordered: got %d results, want %d", n, len(items))
				}
			})
		}
	}
}
