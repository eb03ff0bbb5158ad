package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/parhost/parhost/host"
)

// rows returns all rows in the order of the report.
func rows() []row {
	return []row{sqrtRow(), commandRow(), startRow(), singleRow(), eachRow(), sumsRow(), spinRow(), reduceRow(), sleepRow(), filterRow(), wakeRow(), confineRow(), wallsRow(), shellRow()}
}

// Names of contenders to which goals refer.
const (
	ours       = "parhost"
	goroutines = "2 goroutines"
	goPlugin   = "go-plugin, unary calls"
	loky       = "joblib, loky"
	mpMap      = "mp.Pool.map"
	mpSingly   = "mp.Pool.map, chunksize 1"
	mpApply    = "mp.Pool.apply"
)

// pooled returns a contender that is parhost itself: it opens one pool per turn and repeats host.Map on the same items.
func pooled[In any](name string, cfg host.Config, items func(l *lab, n int) []In) contender {
	return contender{name: name, measure: func(ctx context.Context, l *lab, n int) (measurement, error) {
		pool, err := host.Open(ctx, cfg)
		if err != nil {
			return measurement{}, err
		}
		defer pool.Close()
		xs := items(l, n)
		var results []float64
		samples, err := warm(l, func() (err error) {
			results, err = host.Map[In, float64](ctx, pool, xs)
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
