package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dashboard"
	"github.com/parhost/parhost/host/history"
	"github.com/parhost/parhost/host/telemetry/metrics"
	"github.com/parhost/parhost/host/telemetry/perfetto"
)

const (
	watched = "with a history"
	traced  = "with a history and a trace"
	shown   = "with a page and metrics too"
)

// observedRow measures what it costs to look at a run.
func observedRow() row {
	looked := func(name string, open func(context.Context) (host.Observer, func() error, error)) contender {
		return contender{name: name, measure: func(ctx context.Context, l *lab, n int) (measurement, error) {
			observer, end, err := open(ctx)
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
		title: "300 000 items of 10 µs of CPU time, looked at",
		about: "The same steps of arithmetic for every item, on 2 processes. A history is what the command's summary and live view read; the trace is that of `--trace`, into a file. The page is that of `--ui`: a client takes what a browser would, twice a second, and the metrics.",
		size:  300_000, small: 2000,
		want: func(_ context.Context, l *lab, n int) (string, error) {
			return digest(slices.Repeat([]float64{spin(l.spins / 100)}, n)), nil
		},
		contenders: []contender{
			pooled(ours, spinWorkload, host.Config{Workers: 2}, shortSpins),
			looked(watched, func(context.Context) (host.Observer, func() error, error) {
				return history.New(), func() error { return nil }, nil
			}),
			looked(traced, func(context.Context) (host.Observer, func() error, error) { return openTrace(history.New()) }),
			looked(shown, openPage),
		},
		goals: []goal{timesAsLong(watched, 1.03, ours), timesAsLong(traced, 1.03, ours), timesAsLong(shown, 1.03, ours)},
	}
}

// openTrace returns an observer that keeps a history and writes a trace, and what ends it.
func openTrace(store *history.Store) (host.Observer, func() error, error) {
	file, err := os.CreateTemp("", "trace")
	if err != nil {
		return nil, nil, err
	}
	trace := perfetto.New(file, "spin")
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
}

// openPage adds a page and metrics to that, and a client that reads them.
func openPage(ctx context.Context) (host.Observer, func() error, error) {
	store := history.New()
	both, end, err := openTrace(store)
	if err != nil {
		return nil, nil, err
	}
	numbers := new(metrics.Exporter)
	numbers.Add("spin", "process", store)
	server, err := dashboard.Open(ctx, dashboard.Config{Address: "127.0.0.1:0", Beside: map[string]http.Handler{"/metrics": numbers}})
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	server.Add(&dashboard.Run{Store: store, Label: "process", Title: "spin"})
	ctx, stop := context.WithCancel(ctx)
	var reading sync.WaitGroup
	page, token, _ := strings.Cut(server.URL(), "#")
	var failed error
	reading.Go(func() { failed = browse(ctx, page, token) })
	return both, func() error {
		stop()
		reading.Wait()
		return errors.Join(failed, server.Close(), end())
	}, nil
}

// browse reads what a browser and Prometheus read, until ctx ends.
func browse(ctx context.Context, page, token string) error {
	events, err := http.NewRequestWithContext(ctx, http.MethodGet, page+"events?token="+token, http.NoBody)
	if err != nil {
		return err
	}
	stream, err := http.DefaultClient.Do(events)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Body.Close() }()
	for lines := bufio.NewScanner(bufio.NewReader(stream.Body)); lines.Scan(); {
		for _, path := range []string{"timeline?bins=400&token=" + token, "metrics"} {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, page+path, http.NoBody)
			if err != nil {
				return err
			}
			answer, err := http.DefaultClient.Do(r)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
	return nil
}

func shortSpins(l *lab, n int) []int64 { return slices.Repeat([]int64{l.spins / 100}, n) }
