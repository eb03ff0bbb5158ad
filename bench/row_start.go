package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/parhost/parhost/host"
)

// startRow measures what comes before any work: the start of the command and of workers.
func startRow() row {
	const command, one, eight = "parhost version, whole command", "1 worker", "8 workers at once"
	return row{
		name:  "start",
		title: "start",
		about: "`parhost version`, from the start of the process to its end; and from `host.Open` until 1 or 8 processes of `parhost-plugin-sqrt` are ready for items.",
		size:  1, small: 1,
		want: func(context.Context, *lab, int) (string, error) { return started, nil },
		contenders: []contender{
			{name: command, measure: startCommand},
			openedWith(one, 1),
			openedWith(eight, 8),
		},
		goals: []goal{
			noLongerThan(command, 15*time.Millisecond),
			noLongerThan(one, 10*time.Millisecond),
			noLongerThan(eight, 60*time.Millisecond),
		},
	}
}

const started = "started"

func startCommand(ctx context.Context, l *lab, _ int) (measurement, error) {
	c := command{args: []string{l.parhost, "version"}}
	t, err := c.sample(ctx, l)
	if strings.HasPrefix(c.output, "parhost ") {
		t.answer = started
	}
	return t, err
}

// openedWith returns a contender that opens a pool of processes. Closing the pool is not measured.
func openedWith(name string, workers int) contender {
	return contender{name: name, items: func(int) int { return workers }, measure: func(ctx context.Context, l *lab, _ int) (measurement, error) {
		t := measurement{answer: started}
		for total := time.Duration(0); len(t.samples) == 0 || total < l.long && len(t.samples) < maxSamples; total += t.samples[len(t.samples)-1] {
			begun := time.Now()
			pool, err := host.Open(ctx, host.Config{Plugin: l.sqrt, Workers: workers})
			if err != nil {
				return t, err
			}
			t.samples = append(t.samples, time.Since(begun))
			if ready := len(pool.Workers()); ready != workers {
				t.answer = fmt.Sprintf("%d of %d workers", ready, workers)
			}
			if err := pool.Close(); err != nil {
				return t, err
			}
		}
		return t, nil
	}}
}
