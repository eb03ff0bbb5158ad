package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/plugins/sleep"
)

const napTime = time.Millisecond

// napsEnv makes a process of this program sleep this many times, print how many nanoseconds that took, and exit.
const napsEnv = "PARHOST_BENCH_NAPS"

// wakeRow measures a host with many workers, each of which needs its next item every millisecond.
func wakeRow() row {
	const ideal = "one goroutine, no host"
	r := row{
		name:  "wake",
		title: "5 000 items of 1 ms of sleep for each worker",
		about: "Workers that sleep need no CPU, so any number of them should take as long as one goroutine that sleeps as often. What waking 64 processes a thousand times a second costs the kernel alone, the last line tells: they sleep and do nothing else.",
		size:  5000, small: 50,
		perWorker:  true,
		want:       func(_ context.Context, _ *lab, n int) (string, error) { return digest(naps(n)), nil },
		contenders: []contender{{name: ideal, measure: idealNaps}},
	}
	for _, workers := range []int{1, 2, 4, 8, 64} {
		name := fmt.Sprintf("%s, %d workers", ours, workers)
		if workers == 1 {
			name = ours + ", 1 worker"
		}
		r.contenders = append(r.contenders, napping(name, workers))
		g := timesAsLong(name, 1.05, ideal)
		g.text = fmt.Sprintf("%d × 5 000: ≤ 1.05 × ideal", workers)
		r.goals = append(r.goals, g)
	}
	r.contenders = append(r.contenders, bareProcesses(64))
	return r
}

// naps returns the results of n items.
func naps(n int) []float64 {
	results := make([]float64, n)
	for i := range results {
		results[i] = napTime.Seconds()
	}
	return results
}

// idealNaps measures the same sleeps in one goroutine, without a host.
func idealNaps(ctx context.Context, _ *lab, n int) (measurement, error) {
	took, results, err := timeNaps(ctx, n)
	return measurement{samples: []time.Duration{took}, answer: digest(results)}, err
}

func timeNaps(ctx context.Context, n int) (took time.Duration, results []float64, err error) {
	results = make([]float64, n)
	begun := time.Now()
	for i := range results {
		if results[i], err = sleep.Sleep(ctx, sleep.Duration(napTime)); err != nil {
			return 0, nil, err
		}
	}
	return time.Since(begun), results, nil
}

// nap runs a process that sleeps n times. It returns the exit code.
func nap(n int, stdout io.Writer) int {
	took, _, err := timeNaps(context.Background(), n)
	if err == nil {
		_, err = fmt.Fprint(stdout, took.Nanoseconds())
	}
	if err != nil {
		return 1
	}
	return 0
}

// bareProcesses returns a contender with as many processes as workers, but without a host. The result is the longest time among the processes; a
// process measures from its first sleep on.
func bareProcesses(workers int) contender {
	name := fmt.Sprintf("%d processes, no host", workers)
	return contender{name: name, items: func(n int) int { return n * workers }, measure: func(ctx context.Context, _ *lab, n int) (measurement, error) {
		self, err := os.Executable()
		if err != nil {
			return measurement{}, err
		}
		took := make([]time.Duration, workers)
		g, ctx := errgroup.WithContext(ctx)
		for i := range took {
			g.Go(func() error {
				cmd := exec.CommandContext(ctx, self)
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", napsEnv, n/workers), "GOMAXPROCS=1") // as a pool sets it for its workers
				out, err := cmd.Output()
				if err != nil {
					return err
				}
				took[i], err = time.ParseDuration(string(out) + "ns")
				return err
			})
		}
		err = g.Wait()
		return measurement{samples: []time.Duration{slices.Max(took)}, answer: digest(naps(n))}, err
	}}
}

func napping(name string, workers int) contender {
	return contender{name: name, items: func(n int) int { return n * workers }, measure: func(ctx context.Context, _ *lab, n int) (measurement, error) {
		pool, err := host.OpenWorkload(ctx, sleep.Workload, host.Config{Workers: workers})
		if err != nil {
			return measurement{}, err
		}
		defer pool.Close()
		items := make([]sleep.Duration, n)
		for i := range items {
			items[i] = sleep.Duration(napTime)
		}
		if _, err := pool.Map(ctx, items[:min(n, 20*workers)]); err != nil {
			return measurement{}, err
		}
		begun := time.Now()
		results, err := pool.Map(ctx, items)
		return measurement{samples: []time.Duration{time.Since(begun)}, answer: digest(results)}, err
	}}
}
