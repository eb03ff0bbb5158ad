package main

import (
	"context"
	"os"
	"slices"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/history"
	"github.com/parhost/parhost/host/telemetry/perfetto"
)

const (
	watched = "with a history"
	traced  = "with a history and a trace"
)

// observedRow measures what it costs to look at a run.
func observedRow() row {
	looked := func(name string, open func() (host.Observer, func() error, error)) contender {
		return contender{name: name, measure: func(ctx context.Context, l *lab, n int) (measurement, error) {
			observer, end, err := open()
			if err != nil {
				return measurement{}, err
			}
			m, err := pooled(name, spinWorkload, host.Config{Workers: 2, Observer: observer}, shortSpins).measure(ctx, l, n)
			if ended := end(); err == nil {
				err = ended
			}
			return m, err
		}}
	}
	return row{
		name:  "observed",
		title: "50 000 items of 10 µs of CPU time, looked at",
		about: "The same steps of arithmetic for every item, on 2 processes. A history is what the command's summary and live view read; the trace is that of `--trace`, into a file.",
		size:  50_000, small: 2000,
		want: func(_ context.Context, l *lab, n int) (string, error) {
			return digest(slices.Repeat([]float64{spin(l.spins / 100)}, n)), nil
		},
		contenders: []contender{
			pooled(ours, spinWorkload, host.Config{Workers: 2}, shortSpins),
			looked(watched, func() (host.Observer, func() error, error) {
				return history.New(), func() error { return nil }, nil
			}),
			looked(traced, func() (host.Observer, func() error, error) {
				file, err := os.CreateTemp("", "trace")
				if err != nil {
					return nil, nil, err
				}
				store, trace := history.New(), perfetto.New(file, "spin")
				both := host.ObserverFunc(func(e host.Event) {
					store.Observe(e)
					trace.Observe(e)
				})
				return both, func() error {
					_, err := trace.Close()
					_ = file.Close()
					_ = os.Remove(file.Name())
					return err
				}, nil
			}),
		},
		goals: []goal{timesAsLong(watched, 1.03, ours), timesAsLong(traced, 1.03, ours)},
	}
}

func shortSpins(l *lab, n int) []int64 { return slices.Repeat([]int64{l.spins / 100}, n) }
