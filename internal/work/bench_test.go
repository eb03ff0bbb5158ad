package work

import (
	"context"
	"math"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// BenchmarkItem measures what an item costs beside its work: the call, the store of its place, and the store of its result.
func BenchmarkItem(b *testing.B) {
	core := New(func(context.Context) (Funcs[float64, float64], func(context.Context) error, error) {
		return Funcs[float64, float64]{One: func(_ context.Context, x float64) (float64, error) { return math.Sqrt(x), nil }}, nil, nil
	})
	instance, err := core.Open(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	in, out := make([]float64, 100_000), make([]float64, 100_000)
	for b.Loop() {
		j := &Job{Count: len(in), In: in, Out: out, Logger: hclog.NewNullLogger(), Report: func(Part) {}}
		instance.Run(b.Context(), j)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(in)), "ns/item")
}
