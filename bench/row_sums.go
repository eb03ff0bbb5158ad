package main

import (
	"context"

	"github.com/parhost/parhost/host"
)

// sumsRow is work on large items: what it costs to bring them to a process.
func sumsRow() row {
	const memmap = loky + " with memmap"
	return row{
		name:  "sums",
		title: "the sums of 32 × 8 MiB of float64",
		about: "32 slices of 2²⁰ numbers that the caller has, on 2 processes. Goroutines look at them where they lie; all others have to bring them across.",
		size:  32, small: 3,
		want: wantSums,
		contenders: []contender{
			pooled(ours, host.Config{Workload: sumWorkload, Workers: 2}, arrays),
			grouped(goroutines, arrays, sum),
			peer(memmap, "joblib_parallel", "sums", "joblib", "numpy"),
			peer(mpMap, "mp_pool", "sums", "numpy"),
		},
		goals: []goal{
			timesAsLong(ours, 3.5, goroutines),
			timesFaster(ours, 5, memmap),
		},
	}
}

// arrays returns n arrays of 8 MiB. They hold whole numbers, so that their sums are the same in whatever order they are added;
// measure.py makes the same.
func arrays(_ *lab, n int) [][]float64 {
	const length = 1 << 20
	all := make([][]float64, n)
	for k := range all {
		all[k] = make([]float64, length)
		for i := range all[k] {
			all[k][i] = float64((7*i + k) % 1024)
		}
	}
	return all
}

func wantSums(_ context.Context, _ *lab, n int) (string, error) {
	var sums []float64
	for _, a := range arrays(nil, n) {
		sums = append(sums, sum(a))
	}
	return digest(sums), nil
}
