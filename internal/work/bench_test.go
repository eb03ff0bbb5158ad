package work

import (
	"context"
	"github.com/hashicorp/go-hclog"
	"math"
	"testing"
)

func BenchmarkNative(b *testing.B) {
	c := New(func(context.Context) (Funcs[float64, float64], func(context.Context) error, error) {
		return Funcs[float64, float64]{One: func(_ context.Context, x float64) (float64, error) { return math.Sqrt(x), nil }}, nil, nil
	})
	i, _ := c.Open(context.Background(), nil)
	in := make([]float64, 100000)
	out := make([]float64, 100000)
	for b.Loop() {
		j := &Job{Count: len(in), In: in, Out: out, Logger: hclog.NewNullLogger(), Settle: func(Part) {}}
		i.Run(context.Background(), j)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100000, "ns/item")
}
