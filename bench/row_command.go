package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// commandRow measures the work of sqrtRow as a user who types the command sees it: from the start of the program to its end.
func commandRow() row {
	const joblib = "python + " + loky
	return row{
		name:  "command",
		title: "the same as a fresh command",
		about: "`parhost -p sqrt --range 0:100000 --procs 2 --output none` against a Python program, from the start of the process to its end.",
		size:  100_000, small: 2000,
		want: wantDone,
		contenders: []contender{
			wholeCommand(ours, func(n int) []string { return []string{"-p", "sqrt", "--range", fmt.Sprintf("0:%d", n), "--procs", "2"} }),
			wholeJoblib(joblib, "sqrt", "processes", 2),
		},
		goals: []goal{
			atMost(60 * time.Millisecond),
			timesFaster(ours, 40, joblib),
		},
	}
}

// sleepRow is taken from the notebook: waiting needs workers, but no CPU.
func sleepRow() row {
	return row{
		name:  "sleep",
		title: "sleep 0.2 s × 20 on 12 workers, whole command",
		about: "`parhost -p sleep --procs 12 --repeat 20 --output none 0.2` against Python programs, from the start of the process to its end. 0.4 s is the least possible.",
		size:  20, small: 4,
		want: wantDone,
		contenders: []contender{
			wholeCommand(ours, func(n int) []string {
				return []string{"-p", "sleep", "--procs", "12", "--repeat", strconv.Itoa(n), "0.2"}
			}),
			wholeJoblib("python + joblib, threads", "0.2", "threads", 12),
			wholeJoblib("python + "+loky, "0.2", "processes", 12),
		},
		goals: []goal{atMost(460 * time.Millisecond)},
	}
}

// wantDone returns the right answer of commands that print no results, but the number of results.
func wantDone(_ context.Context, _ *lab, n int) (string, error) { return strconv.Itoa(n), nil }

// okItems matches parhost's summary of a run without failures.
var okItems = regexp.MustCompile(`(?m)^(\d+) items? · (\d+) ok · 0 failed`)

// wholeCommand returns a contender that runs the parhost command without results on stdout.
func wholeCommand(name string, args func(n int) []string) contender {
	return contender{name: name, measure: func(ctx context.Context, l *lab, n int) (measurement, error) {
		c := command{args: append([]string{l.parhost, "--output", "none", "--progress", "none"}, args(n)...)}
		t, err := c.sample(ctx, l)
		if said := okItems.FindStringSubmatch(c.stderr); said != nil && said[1] == said[2] {
			t.answer = said[2]
		}
		return t, err
	}}
}

// wholeJoblib returns a contender that runs a Python program with joblib. work is "sqrt" or a number of seconds to sleep.
func wholeJoblib(name, work, prefer string, jobs int) contender {
	return contender{name: name, measure: func(ctx context.Context, l *lab, n int) (measurement, error) {
		python, err := l.need("joblib")
		if err != nil {
			return measurement{}, err
		}
		c := command{args: []string{python, l.script("joblib_command"), work, prefer, strconv.Itoa(jobs), strconv.Itoa(n)}}
		t, err := c.sample(ctx, l)
		t.answer = strings.TrimSpace(c.output)
		return t, err
	}}
}
