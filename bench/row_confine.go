package main

import (
	"context"
	"errors"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

const (
	plain  = "a plain process"
	basic  = "basic sandbox"
	strict = "strict sandbox"
)

// confineRow measures how much a sandbox delays the start of a worker.
func confineRow() row {
	return row{
		name:  "confine",
		title: "the start of a worker in a sandbox",
		about: "From exec until `parhost-plugin-sqrt` is ready for items, one after the other in an open pool. What a pool does once, such as reading the plugin and trying the level, is not in it.",
		size:  1, small: 1,
		want: func(context.Context, *lab, int) (string, error) { return started, nil },
		contenders: []contender{
			startedIn(plain, sandbox.Off),
			startedIn(basic, sandbox.Basic),
			startedIn(strict, sandbox.Strict),
		},
		goals: []goal{timesAsLong(strict, 2.5, plain)},
	}
}

// wallsRow measures how much a sandbox slows down running items.
func wallsRow() row {
	in := func(name string, level sandbox.Level) contender {
		return contender{name: name, measure: func(ctx context.Context, l *lab, n int) (measurement, error) {
			t, err := mapped(name, func(l *lab) host.Config {
				return host.Config{Plugin: l.sqrt, Workers: 2, Sandbox: sandbox.Policy{Level: level}}
			}, numberItems).measure(ctx, l, n)
			return t, notHere(err, name)
		}}
	}
	return row{
		name:  "walls",
		title: "sqrt × 100 000, warm, in a sandbox",
		about: "The work of the first row: the walls have nothing to say while items run, but system calls pass a filter.",
		size:  100_000, small: 2000,
		want:       wantRoots,
		contenders: []contender{in(plain, sandbox.Off), in(basic, sandbox.Basic), in(strict, sandbox.Strict)},
		goals:      []goal{timesAsLong(strict, 1.05, plain)},
	}
}

// notHere returns a *missingError for the level if err says that this machine does not support it, or err otherwise.
func notHere(err error, level string) error {
	if errors.Is(err, sandbox.ErrNotSupported) {
		return &missingError{level}
	}
	return err
}

// starts is an observer that receives the start time of each worker.
type starts chan time.Duration

func (s starts) Observe(e host.Event) {
	if w, ok := e.(host.WorkerStarted); ok {
		s <- w.Took
	}
}

// startedIn returns a contender that repeatedly adds one worker to a pool and removes it again.
func startedIn(name string, level sandbox.Level) contender {
	return contender{name: name, items: func(int) int { return 1 }, measure: func(ctx context.Context, l *lab, _ int) (measurement, error) {
		took := make(starts, 8)
		pool, err := host.Open(ctx, host.Config{Plugin: l.sqrt, Workers: 1, Observer: took, Sandbox: sandbox.Policy{Level: level}})
		if err != nil {
			return measurement{}, notHere(err, name)
		}
		defer pool.Close()
		t := measurement{answer: started}
		<-took // the start of the first worker is not measured
		for total := time.Duration(0); len(t.samples) == 0 || total < l.long && len(t.samples) < maxSamples; total += t.samples[len(t.samples)-1] {
			if err := pool.Resize(2); err != nil {
				return t, err
			}
			t.samples = append(t.samples, <-took)
			if err := pool.Resize(1); err != nil {
				return t, err
			}
		}
		return t, nil
	}}
}
