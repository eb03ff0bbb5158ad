//go:build unix

package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

// batchCrash ends its process at item 57, somewhere among the items that it was given.
var batchCrash = sdk.Batch("batch-crash", func(_ context.Context, xs []float64) ([]float64, error) {
	if slices.Contains(xs, 57) {
		os.Exit(3)
	}
	return xs, nil
})

// fragile ends the worker's process when item 57 is decoded, as a stack overflow or a fault in a C parser would.
type fragile int

func (f *fragile) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, (*int)(f)); err != nil {
		return err
	}
	if *f == 57 && os.Getenv("FRAGILE") != "" {
		os.Exit(4)
	}
	return nil
}

var decodeCrash = sdk.Func("decode-crash", func(_ context.Context, f fragile) (int, error) { return int(f), nil })

// What the black box says must be true even where items are not run one after the other, and before they run.
func TestOnlyTheGuiltyItemIsBlamed(t *testing.T) {
	for name, workload := range map[string]sdk.AnyWorkload{"batch function": batchCrash, "decoding": decodeCrash} {
		for _, inline := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, inline %v", name, inline), func(t *testing.T) {
				p := open(t, host.Config{Workload: workload, Workers: 2, Batch: 20, Inline: inline, Env: []string{"FRAGILE=1"}})
				items := make([]int, 100)
				for i := range items {
					items[i] = i
				}
				got, err := typed[int, int](p).Map(t.Context(), items)
				if blamed := indexes(mapErrors(t, "Map", err)); !slices.Equal(blamed, []int{57}) {
					t.Errorf("blamed items: got %v, want 57 alone", blamed)
				}
				for i, x := range got {
					if x != i && i != 57 {
						t.Errorf("item %d: got %d", i, x)
					}
				}
			})
		}
	}
}

// With several threads each has an item under way when the process dies: these run again, each alone, and no other.
func TestOnlyItemsThatRanAreSuspects(t *testing.T) {
	events := new(recorder)
	p := open(t, host.Config{Workload: chaos, Workers: 1, Threads: 4, Batch: 50, Observer: events})
	got, err := typed[order, string](p).Map(t.Context(), orders(400, map[int]order{60: {Do: "exit", N: 3}}))
	if d := cmp.Diff([]int{60}, indexes(checkOthers(t, "Map", got, err))); d != "" {
		t.Fatalf("items that failed (-want +got):\n%s", d)
	}
	p.AwaitObserver()
	alone := 0
	for _, e := range ofKind[host.BatchDone](events) {
		if e.Items == 1 {
			alone++
		}
	}
	if alone > 3+4 { // the other threads' items, and what a batch may be cut into before and behind them
		t.Errorf("items that ran alone: got %d, want at most those of the other threads", alone)
	}
}

// An item that was a suspect has begun once more than it ended, and its result says so. That is no retry.
func TestASuspectHasBegunTwice(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 1, Threads: 4, Batch: 1})
	items := []order{{Do: "sleep", N: 200}, {Do: "once", S: filepath.Join(t.TempDir(), "begun")}, {Do: "sleep", N: 200}, {Do: "sleep", N: 200}}
	attempts := map[int]int{}
	for r, err := range typed[order, string](p).Stream(t.Context(), slices.Values(items)) {
		if err != nil || r.Err != nil {
			t.Fatalf("item %d: got %v and %v, want a result", r.Index, err, r.Err)
		}
		attempts[r.Index] = r.Attempts
	}
	if attempts[1] != 2 {
		t.Errorf("the item that ended its worker: got %d attempts, want 2; all: %v", attempts[1], attempts)
	}
}

func TestWorkersShowWhichItemsRun(t *testing.T) {
	for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine} {
		t.Run(string(mode), func(t *testing.T) {
			begun := time.Now()
			p := open(t, host.Config{Workload: chaos, Workers: 1, Mode: mode, Batch: 10})
			gate := filepath.Join(t.TempDir(), "gate")
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = typed[order, string](p).Map(ctx, orders(20, map[int]order{13: {Do: "hold", S: gate}}))
			}()
			waitFile(t, gate)
			running := p.Workers()[0].Running
			if len(running) != 1 || running[0].Index != 13 || running[0].Since.Before(begun) || running[0].Since.After(time.Now()) {
				t.Errorf("got %+v, want item 13 since a moment ago", running)
			}
			cancel()
			<-ended
		})
	}
}
