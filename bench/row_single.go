package main

import (
	"context"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/plugins/sqrt"
)

// singleRow measures the round trip of a single item.
func singleRow() row {
	return row{
		name:  "single",
		title: "one item at a time, warm, p50",
		about: "2000 roots, each asked for when the one before is there: the median time of one.",
		size:  2000, small: 100,
		timed: 1,
		want:  wantRoots,
		contenders: []contender{
			{name: ours, measure: single},
			peer(mpApply, "mp_pool", "apply"),
			{name: goPlugin, measure: plainSingle},
			{name: barePipe, measure: pipeSingle},
		},
		goals: []goal{
			timesAsLong(ours, 2.5, barePipe),
			timesFaster(ours, 1, mpApply),
			timesFaster(ours, 1, goPlugin),
		},
	}
}

func single(ctx context.Context, _ *lab, n int) (measurement, error) {
	pool, err := host.OpenWorkload(ctx, sqrt.Workload, host.Config{Workers: 2})
	if err != nil {
		return measurement{}, err
	}
	defer pool.Close()
	samples, results, err := each(numbers(n), func(x float64) (float64, error) {
		root, err := pool.Do(ctx, x)
		return root.Value, err
	})
	return measurement{samples: samples, answer: digest(results)}, err
}

func plainSingle(ctx context.Context, _ *lab, n int) (measurement, error) {
	call, stop, err := startPlain()
	if err != nil {
		return measurement{}, err
	}
	defer stop()
	samples, results, err := each(numbers(n), func(x float64) (float64, error) { return call(ctx, x) })
	return measurement{samples: samples, answer: digest(results)}, err
}
