package host_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
)

// runsOn waits until a pool shows an item that runs, and returns its worker. It skips a test whose workers do not show what they run.
func runsOn(t *testing.T, p *host.Pool, item int) int {
	t.Helper()
	if strings.HasSuffix(t.Name(), "inline") {
		t.Skip("without shared memory, a worker does not show what it runs")
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, w := range p.Workers() {
			for _, r := range w.Running {
				if r.Index == item {
					return w.Worker
				}
			}
		}
	}
	t.Fatalf("item %d does not run", item)
	return 0
}

// One item is cancelled while it runs: one that listens to its context and, in a process, one that does not. The other items of its batch keep their results.
func TestAnItemThatRunsCanBeCancelled(t *testing.T) {
	for _, do := range []string{"sleep", "stubborn"} {
		t.Run(do, func(t *testing.T) {
			pools(t, host.Config{Workload: chaos, Workers: 1, Batch: 10, Grace: 200 * time.Millisecond, Retries: 3, RetryAlways: true}, func(t *testing.T, p *host.Pool) {
				if mode := p.Workers()[0].Mode; do == "stubborn" && mode != host.ModeProcess {
					t.Skip("a goroutine that ignores its context cannot be ended")
				}
				items := make([]order, 10)
				for i := range items {
					items[i] = order{Do: "echo", N: i}
				}
				items[4] = order{Do: do, N: 60_000}
				var err error
				mapped := make(chan struct{})
				go func() {
					defer close(mapped)
					_, err = typed[order, string](p).Map(t.Context(), items)
				}()
				w := runsOn(t, p, 4)
				for _, other := range [][2]int{{w, 5}, {w + 7, 4}} {
					if err := p.CancelItem(other[0], other[1]); !errors.Is(err, host.ErrNotRunning) {
						t.Errorf("item %d on worker %d: got %v, want ErrNotRunning", other[1], other[0], err)
					}
				}
				if err := p.CancelItem(w, 4); err != nil {
					t.Fatal(err)
				}
				within(t, "Map", patience, func() { <-mapped })
				failed, ok := errors.AsType[*host.MapError](err)
				if !ok || len(failed.Errs) != 1 || failed.Errs[0].Index != 4 || failed.Errs[0].Kind != host.KindCanceled || failed.Errs[0].Attempts != 1 {
					t.Errorf("got %v, want item 4 alone canceled, at its first attempt", err)
				}
			})
		})
	}
}

func TestAWorkerSaysWhatItDoes(t *testing.T) {
	pools(t, host.Config{Workload: chaos, Workers: 1}, func(t *testing.T, p *host.Pool) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = typed[order, string](p).Do(ctx, order{Do: "sleep", N: 60_000})
		}()
		w := p.Workers()[0].Worker
		said := ""
		for deadline := time.Now().Add(patience); !strings.Contains(said, "misbehave"); time.Sleep(time.Millisecond) {
			var err error
			if said, err = p.Stack(t.Context(), w); err != nil || time.Now().After(deadline) {
				t.Fatalf("got %v and %.2000s, want the stack of the item", err, said)
			}
		}
		cancel()
		<-ended
		if _, err := p.Stack(t.Context(), w+7); !errors.Is(err, host.ErrNotRunning) {
			t.Errorf("a worker that is not there: got %v, want ErrNotRunning", err)
		}
	})
}
