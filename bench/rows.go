package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

// rows returns all rows in the order of the report.
func rows() []row {
	return []row{sqrtRow(), commandRow(), startRow(), singleRow(), eachRow(), sumsRow(), spinRow(), observedRow(), reduceRow(), sleepRow(), filterRow(), wakeRow(), confineRow(), wallsRow(), shellRow()}
}

// Names of contenders to which goals refer.
const (
	ours         = "parhost"
	inGoroutines = "parhost, goroutine mode"
	goroutines   = "2 goroutines"
	twoHalves    = "errgroup, 2 halves"
	goPlugin     = "go-plugin, unary calls"
	loky         = "joblib, loky"
	mpMap        = "mp.Pool.map"
	mpSingly     = "mp.Pool.map, chunksize 1"
	mpApply      = "mp.Pool.apply"
)

// pooled returns a contender that is parhost itself, with a workload that is linked in.
func pooled[In any](name string, w *sdk.Workload[In, float64], cfg host.Config, items func(l *lab, n int) []In) contender {
	cfg.Workload = w
	return mapped(name, func(*lab) host.Config { return cfg }, items)
}

// mapped returns a contender that is parhost itself: it opens one pool per turn and repeats Map on the same items.
func mapped[In any](name string, cfg func(*lab) host.Config, items func(l *lab, n int) []In) contender {
	return contender{name: name, measure: func(ctx context.Context, l *lab, n int) (measurement, error) {
		p, err := host.Open(ctx, cfg(l))
		if err != nil {
			return measurement{}, err
		}
		defer p.Close()
		pool, err := host.Bind[In, float64](p)
		if err != nil {
			return measurement{}, err
		}
		xs := items(l, n)
		var results []float64
		samples, err := warm(l, func() (err error) {
			results, err = pool.Map(ctx, xs)
			return err
		})
		return measurement{samples: samples, answer: digest(results)}, err
	}}
}

// grouped returns a contender that a Go programmer would write without parhost: a goroutine for each item, two at a time.
func grouped[In any](name string, items func(l *lab, n int) []In, f func(In) float64) contender {
	return contender{name: name, measure: func(_ context.Context, l *lab, n int) (measurement, error) {
		xs := items(l, n)
		results := make([]float64, n)
		samples, err := warm(l, func() error {
			var g errgroup.Group
			g.SetLimit(2)
			for i, x := range xs {
				g.Go(func() error {
					results[i] = f(x)
					return nil
				})
			}
			return g.Wait()
		})
		return measurement{samples: samples, answer: digest(results)}, err
	}}
}

func numberItems(_ *lab, n int) []float64 { return numbers(n) }
