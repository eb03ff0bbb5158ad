package main

import (
	"context"
	"slices"

	"github.com/parhost/parhost/host"
)

// spinRow measures items that are long enough to be worth dispatching: processes must not make them slower.
func spinRow() row {
	return row{
		name:  "spin",
		title: "1000 items of 1 ms of CPU time",
		about: "The same steps of arithmetic for every item, as many as took a millisecond when the session began, on 2 processes and on 2 goroutines.",
		size:  1000, small: 20,
		want: wantSpins,
		contenders: []contender{
			pooled(ours, spinWorkload, host.Config{Workers: 2}, spins),
			grouped(goroutines, spins, spin),
			pooled(inGoroutines, spinWorkload, host.Config{Workers: 2, Mode: host.ModeGoroutine}, spins),
		},
		goals: []goal{timesAsLong(ours, 1.02, goroutines)},
	}
}

func spins(l *lab, n int) []int64 {
	items := make([]int64, n)
	for i := range items {
		items[i] = l.spins
	}
	return items
}

func wantSpins(_ context.Context, l *lab, n int) (string, error) {
	return digest(slices.Repeat([]float64{spin(l.spins)}, n)), nil
}
