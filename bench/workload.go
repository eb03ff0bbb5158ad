package main

import (
	"context"
	"math"
	"time"

	"github.com/parhost/parhost/sdk"
)

// sumWorkload adds numbers, which takes little longer than reading them.
var sumWorkload = sdk.Func("sum", func(_ context.Context, xs []float64) (float64, error) { return sum(xs), nil })

func sum(xs []float64) float64 {
	total := 0.0
	for _, x := range xs {
		total += x
	}
	return total
}

// spinWorkload keeps a CPU busy. An item is the number of steps of [spin].
var spinWorkload = sdk.Func("spin", func(_ context.Context, steps int64) (float64, error) { return spin(steps), nil })

// spin does the same work for the same number of steps on every machine. It is xorshift (Marsaglia, Journal of Statistical Software 8, 2003): each
// step needs the result of the one before, and no memory.
func spin(steps int64) float64 {
	x := uint64(88172645463325252)
	for range steps {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return float64(x >> 11)
}

// calibrate returns how many steps of spin take a millisecond.
func calibrate() int64 {
	const steps = 1 << 20
	least := time.Duration(math.MaxInt64)
	same := true
	for range 9 {
		begun := time.Now()
		same = spin(steps) > 0 && same // uses the result, so that the compiler cannot remove the call
		least = min(least, time.Since(begun))
	}
	if !same {
		return steps
	}
	return int64(steps * float64(time.Millisecond) / float64(least))
}
