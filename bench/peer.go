package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// peer returns a contender in Python: a script that measures itself, in a process that ends with the turn.
func peer(name, script, way string, modules ...string) contender {
	return contender{name: name, measure: func(ctx context.Context, l *lab, n int) (measurement, error) {
		python, err := l.need(modules...)
		if err != nil {
			return measurement{}, err
		}
		long := strconv.FormatFloat(l.long.Seconds(), 'f', -1, 64)
		out, err := output(ctx, python, l.script(script), way, strconv.Itoa(n), long)
		if err != nil {
			return measurement{}, err
		}
		var said struct {
			Seconds []float64
			Answer  string
		}
		if err := json.Unmarshal(out, &said); err != nil || len(said.Seconds) == 0 {
			return measurement{}, fmt.Errorf("%s.py printed %q (%w)", script, out, err)
		}
		t := measurement{answer: said.Answer}
		for _, s := range said.Seconds {
			t.samples = append(t.samples, time.Duration(s*1e9))
		}
		return t, nil
	}}
}

// output runs a program and returns its stdout. The error contains its last lines on stderr.
func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "RAY_USAGE_STATS_ENABLED=0")
	ownGroup(cmd)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, lastLines(stderr.String()))
	}
	return out, nil
}

func lastLines(text string) string {
	const most = 20
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
