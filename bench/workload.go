package main

import (
	"context"
	"math"
	"time"

	"github.com/parhost/parhost/sdk"
)

// sumWorkload adds numbers: work that takes little longer than looking at its items.
var sumWorkload = sdk.Func("sum", func(_ context.Context, xs []float64) (float64, error) { return sum(xs), nil })

func sum(xs []float64) float64 {
	total := 0.0
	for _, x := range xs {
		total += x
	}
	return total
}

// spinWorkload keeps a CPU busy. An item is how long, in steps of [spin].
var spinWorkload = sdk.Func("spin", func(_ context.Context, steps int64) (float64, error) { return spin(steps), nil })

// spin takes the same work for the same steps on whatever it runs: xorshift (Marsaglia, Journal of Statistical Software 8, 2003),
// whose steps need one another and no memory.
func spin(steps int64) float64 {
	x := uint64(88172645463325252)
	for range steps {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return float64(x >> 11)
}

// calibrate returns the steps that take a millisecond.
func calibrate() int64 {
	const steps = 1 << 20
	least := time.Duration(math.MaxInt64)
	same := true
	for range 9 {
		begun := time.Now()
		same = spin(steps) > 0 && same // used, or it would not have to be done
		least = min(least, time.Since(begun))
	}
	if !same {
		return steps
	}
	return int64(steps * float64(time.Millisecond) / float64(least))
}
