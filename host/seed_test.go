package host_test

import (
	"context"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

var (
	// dice draws two numbers. Before it returns them, it dies once for a file that is not there yet.
	dice = sdk.Func("dice", func(ctx context.Context, file string) ([]uint64, error) {
		drawn := []uint64{sdk.Rand(ctx).Uint64(), sdk.Rand(ctx).Uint64()}
		if file == "" {
			return drawn, nil
		}
		if _, err := os.Stat(file); err != nil {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				return nil, err
			}
			os.Exit(3)
		}
		return drawn, nil
	}).With(sdk.Manifest{Idempotent: true})
	batchOfDice = sdk.Batch("batch-of-dice", func(ctx context.Context, items []string) ([][]uint64, error) {
		drawn := make([][]uint64, len(items))
		for i := range drawn {
			drawn[i] = []uint64{sdk.RandAt(ctx, i).Uint64(), sdk.RandAt(ctx, i).Uint64()}
		}
		return drawn, nil
	})
)

// throw returns what the items of a run with a seed draw.
func throw(t *testing.T, p *host.Pool, seed uint64, items []string) [][]uint64 {
	t.Helper()
	drawn, err := typed[string, []uint64](p).Map(host.WithSeed(t.Context(), seed), items)
	if err != nil {
		t.Fatal(err)
	}
	return drawn
}

func TestItemsDrawTheSameInEveryMode(t *testing.T) {
	items := make([]string, 200)
	want := throw(t, open(t, host.Config{Workload: dice, Mode: host.ModeSequential}), 7, items)
	seen := map[uint64]bool{}
	for i, drawn := range want {
		for _, n := range drawn {
			if seen[n] {
				t.Fatalf("item %d draws %d, which was drawn before", i, n)
			}
			seen[n] = true
		}
	}
	for _, w := range []sdk.AnyWorkload{dice, batchOfDice} {
		for _, cfg := range []host.Config{{}, {Batch: 1}, {Batch: 7}, {Batch: 7, ItemTimeout: time.Minute}} {
			cfg.Workload = w
			pools(t, cfg, func(t *testing.T, p *host.Pool) {
				if diff := cmp.Diff(want, throw(t, p, 7, items)); diff != "" {
					t.Errorf("%s in batches of %d, other draws than in sequence (-want +got):\n%s", p.Manifest().Name, cfg.Batch, diff)
				}
				if cmp.Equal(want, throw(t, p, 8, items)) {
					t.Error("another seed: the same draws")
				}
			})
		}
	}
}

func TestAnItemDrawsTheSameInItsNextAttempt(t *testing.T) {
	p := open(t, host.Config{Workload: dice, Retries: 2, Batch: 4})
	items := make([]string, 12)
	want := throw(t, p, 7, items)
	for _, i := range []int{1, 5, 11} {
		items[i] = filepath.Join(t.TempDir(), "died")
	}
	if diff := cmp.Diff(want, throw(t, p, 7, items)); diff != "" {
		t.Errorf("after a crash, other draws than without (-want +got):\n%s", diff)
	}
}

func TestAPartOfTheItemsDrawsWhatTheWholeDoes(t *testing.T) {
	pools(t, host.Config{Workload: dice}, func(t *testing.T, p *host.Pool) {
		items := make([]string, 50)
		want := throw(t, p, 7, items)
		odd := func(i int) int { return 2*i + 1 }
		late := func(i int) int { return i + 3 }
		ctx := host.WithIndex(host.WithIndex(host.WithSeed(t.Context(), 7), odd), late)
		results := typed[string, []uint64](p).Stream(ctx, slices.Values(items[:10]))
		for i, drawn := range valuesOf(t, results) {
			if at := odd(late(i)); !slices.Equal(drawn, want[at]) {
				t.Errorf("item %d of the odd ones from the fourth on: draws %v, want those of item %d, %v", i, drawn, at, want[at])
			}
		}
	})
}

func valuesOf[V any](t *testing.T, results iter.Seq2[host.Result[V], error]) []V {
	t.Helper()
	var list []V
	for r, err := range results {
		if err != nil || r.Err != nil {
			t.Fatal(err, r.Err)
		}
		list = append(list, r.Value)
	}
	return list
}

func TestRunsWithoutASeedDiffer(t *testing.T) {
	pools(t, host.Config{Workload: dice}, func(t *testing.T, p *host.Pool) {
		var drawn [2][]uint64
		for i := range drawn {
			var err error
			if drawn[i], err = value(typed[string, []uint64](p).Do(t.Context(), "")); err != nil {
				t.Fatal(err)
			}
		}
		if slices.Equal(drawn[0], drawn[1]) {
			t.Errorf("two runs drew %v, want different numbers", drawn[0])
		}
	})
}
