//go:build unix

package host_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

// mallocs halves numbers, and answers -1 with how many objects its process has allocated so far.
var mallocs = sdk.Func("mallocs", func(_ context.Context, x float64) (float64, error) {
	if x == -1 {
		return float64(countMallocs()), nil
	}
	return x / 2, nil
})

func init() { workloads = append(workloads, mallocs) }

func countMallocs() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Mallocs
}

// On neither side of the stream has a number memory of its own: what is allocated is for batches.
func TestNumbersAllocateNothingOneByOne(t *testing.T) {
	const few, many = 50_000, 1_000_000
	const batch = 10_000 // given, because measured time would make them smaller on a slow machine
	for _, inline := range []bool{false, true} {
		p := open(t, host.Config{Workload: mallocs, Workers: 1, Batch: batch, Inline: inline})
		ask := func(x float64) float64 {
			t.Helper()
			y, err := value(typed[float64, float64](p).Do(t.Context(), x))
			if err != nil {
				t.Fatal(err)
			}
			return y
		}
		run := func(items []float64) (here, there float64) {
			t.Helper()
			there, here = ask(-1), float64(countMallocs())
			results, err := typed[float64, float64](p).Map(t.Context(), items)
			here = float64(countMallocs()) - here
			if err != nil || results[len(items)-1] != items[len(items)-1]/2 {
				t.Fatalf("Map: got %v and the error %v, want half of %v", results[len(items)-1], err, items[len(items)-1])
			}
			return here, ask(-1) - there
		}
		lessItems, moreItems := upTo(few), upTo(many)
		run(lessItems) // what is made once
		lessHere, lessThere := run(lessItems)
		moreHere, moreThere := run(moreItems)
		for side, each := range map[string]float64{"host": (moreHere - lessHere) / (many - few), "worker": (moreThere - lessThere) / (many - few)} {
			t.Logf("inline %v, %s: %.5f allocations an item", inline, side, each)
			if each > 0.01 {
				t.Errorf("inline %v: the %s makes %.5f allocations for each further item, want at most 0.01", inline, side, each)
			}
		}
	}
}
