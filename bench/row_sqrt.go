package main

import (
	"context"
	"math"

	"golang.org/x/sync/errgroup"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/plugins/sqrt"
)

// sqrtRow measures the cost of dispatch, because the work itself costs almost nothing.
func sqrtRow() row {
	return row{
		name:  "sqrt",
		title: "sqrt × 100 000, warm",
		about: "The roots of 0 to 99 999 in a warm pool of 2 processes (or threads, or goroutines), as a list in, list out call of each library.",
		size:  100_000, small: 2000,
		want: wantRoots,
		contenders: []contender{
			pooled(ours, sqrt.Workload, host.Config{Workers: 2}, numberItems),
			pooled(inGoroutines, sqrt.Workload, host.Config{Workers: 2, Mode: host.ModeGoroutine}, numberItems),
			grouped("errgroup, a goroutine an item", numberItems, math.Sqrt),
			{name: twoHalves, measure: halves},
			{name: bareArena, measure: arenaSqrt},
			{name: goPlugin, measure: plainSqrt},
			peer(mpMap, "mp_pool", "map"),
			peer(mpSingly, "mp_pool", "chunksize1"),
			peer("ProcessPoolExecutor, chunksize 1000", "futures_executor", "map"),
			peer(loky, "joblib_parallel", "processes", "joblib"),
			peer("joblib, threads", "joblib_parallel", "threads", "joblib"),
			peer("pebble, chunksize 1000", "pebble_pool", "map", "pebble"),
			peer("mpire", "mpire_pool", "map", "mpire"),
			peer("Ray, its Pool.map", "ray_pool", "map", "ray"),
		},
		goals: []goal{
			timesAsLong(ours, 1.3, bareArena),
			timesAsLong(inGoroutines, 3, twoHalves),
			timesFaster(ours, 30, mpMap),
			timesFaster(ours, 500, loky),
		},
	}
}

// halves measures the smallest cost of two goroutines: each takes one half of the items.
func halves(_ context.Context, l *lab, n int) (measurement, error) {
	xs, results := numbers(n), make([]float64, n)
	samples, err := warm(l, func() error {
		var g errgroup.Group
		for _, part := range [][2]int{{0, n / 2}, {n / 2, n}} {
			g.Go(func() error {
				for i := part[0]; i < part[1]; i++ {
					results[i] = math.Sqrt(xs[i])
				}
				return nil
			})
		}
		return g.Wait()
	})
	return measurement{samples: samples, answer: digest(results)}, err
}

// plainSqrt measures a hand-written host with two plugin processes, each of which gets one call after the other.
func plainSqrt(ctx context.Context, l *lab, n int) (measurement, error) {
	var calls []func(context.Context, float64) (float64, error)
	for range 2 {
		call, stop, err := startPlain()
		if err != nil {
			return measurement{}, err
		}
		defer stop()
		calls = append(calls, call)
	}
	xs, results := numbers(n), make([]float64, n)
	samples, err := warm(l, func() error {
		g, ctx := errgroup.WithContext(ctx)
		for first, call := range calls {
			g.Go(func() (err error) {
				for i := first; i < n && err == nil; i += len(calls) {
					results[i], err = call(ctx, xs[i])
				}
				return err
			})
		}
		return g.Wait()
	})
	return measurement{samples: samples, answer: digest(results)}, err
}
