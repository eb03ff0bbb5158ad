//go:build unix

package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

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
	for name, workload := range map[string]*sdk.Workload{"batch function": batchCrash, "decoding": decodeCrash} {
		for _, inline := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, inline %v", name, inline), func(t *testing.T) {
				p := open(t, host.Config{Workload: workload, Workers: 2, Batch: 20, Inline: inline, Env: []string{"FRAGILE=1"}})
				items := make([]int, 100)
				for i := range items {
					items[i] = i
				}
				got, err := host.Map[int, int](t.Context(), p, items)
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
