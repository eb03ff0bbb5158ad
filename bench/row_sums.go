package main

import (
	"context"

	"github.com/parhost/parhost/host"
)

// sumsRow measures the cost of bringing large items to a process.
func sumsRow() row {
	const memmap, oursBuilt = loky + " with memmap", ours + ", built in the arena"
	cfg := host.Config{Workers: 2}
	return row{
		name:  "sums",
		title: "the sums of 32 × 8 MiB of float64",
		about: "32 slices of 2²⁰ numbers that the caller has, on 2 processes. Goroutines look at them where they lie; all others have to bring them across, but for those that were built in the pool's own buffers.",
		size:  32, small: 3,
		want: wantSums,
		contenders: []contender{
			pooled(ours, sumWorkload, cfg, arrays),
			built(oursBuilt, cfg),
			grouped(goroutines, arrays, sum),
			peer(memmap, "joblib_parallel", "sums", "joblib", "numpy"),
			peer(mpMap, "mp_pool", "sums", "numpy"),
		},
		goals: []goal{
			timesAsLong(oursBuilt, 1.3, goroutines),
			timesAsLong(ours, 3.5, goroutines),
			timesFaster(ours, 5, memmap),
		},
	}
}

// arrays returns n arrays of 8 MiB. They hold integers, so that their sums do not depend on the order of addition. measure.py makes the same arrays.
func arrays(_ *lab, n int) [][]float64 {
	all := make([][]float64, n)
	for k := range all {
		all[k] = make([]float64, arrayLength)
		fill(all[k], k)
	}
	return all
}

const arrayLength = 1 << 20

func fill(array []float64, k int) {
	for i := range array {
		array[i] = float64((7*i + k) % 1024)
	}
}

// built returns a contender that is parhost with the same arrays, but built in a buffer of the pool.
func built(name string, cfg host.Config) contender {
	return contender{name: name, measure: func(ctx context.Context, l *lab, n int) (measurement, error) {
		pool, err := host.OpenWorkload(ctx, sumWorkload, cfg)
		if err != nil {
			return measurement{}, err
		}
		defer pool.Close()
		buffer, err := host.NewBuffer[float64](pool.Pool, n*arrayLength)
		if err != nil {
			return measurement{}, err
		}
		defer buffer.Free()
		all := make([][]float64, n)
		for k := range all {
			all[k] = buffer.Slice[k*arrayLength:][:arrayLength]
			fill(all[k], k)
		}
		var sums []float64
		samples, err := warm(l, func() (err error) {
			sums, err = pool.Map(ctx, all)
			return err
		})
		return measurement{samples: samples, answer: digest(sums)}, err
	}}
}

func wantSums(_ context.Context, _ *lab, n int) (string, error) {
	var sums []float64
	for _, a := range arrays(nil, n) {
		sums = append(sums, sum(a))
	}
	return digest(sums), nil
}
