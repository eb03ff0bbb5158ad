package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// witnessEnv names the file into which a witness process writes what it measured.
const witnessEnv = "PARHOST_BENCH_WITNESS"

// testimony is what a witness process measured of a command.
type testimony struct {
	Took    time.Duration // from the start of the command to its end
	PeakRSS int64         // bytes, of the largest process among the command and the children that it waited for; 0 if unknown
}

// witness runs a command, writes down what it measured, and returns the exit code.
//
// The witness is a process between bench and the command that has touched almost no memory. It is needed because on Linux the peak RSS of a new
// process starts at that of its parent: until the child executes its program, it counts as using its parent's memory (setmax_mm_hiwater_rss in
// fs/exec.c), and bench itself holds large arrays.
func witness(path string, args []string) int {
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, witnessEnv+"=") })
	begun := time.Now()
	err := cmd.Run()
	seen := testimony{Took: time.Since(begun), PeakRSS: peakRSS(cmd.ProcessState)}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	text, err := json.Marshal(seen)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// command is a whole program with its input, measured from start to end.
type command struct {
	args           []string
	stdin, stdout  string // file names; "" is none
	stderr, output string // output of the last run; output is only set without a stdout file
}

// run runs the command once, through a witness process.
func (c *command) run(ctx context.Context, l *lab) (testimony, error) {
	var seen testimony
	self, err := os.Executable()
	if err != nil {
		return seen, err
	}
	path := filepath.Join(l.dir, "testimony")
	cmd := exec.CommandContext(ctx, self, c.args...)
	cmd.Env = append(os.Environ(), witnessEnv+"="+path, "PYTHONDONTWRITEBYTECODE=1")
	ownGroup(cmd)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.stdin != "" {
		in, err := os.Open(c.stdin)
		if err != nil {
			return seen, err
		}
		defer in.Close()
		cmd.Stdin = in
	}
	if c.stdout != "" {
		out, err := os.Create(c.stdout)
		if err != nil {
			return seen, err
		}
		defer out.Close()
		cmd.Stdout = out
	}
	if err := cmd.Run(); err != nil {
		return seen, fmt.Errorf("%s: %w\n%s", strings.Join(c.args, " "), err, lastLines(stderr.String()))
	}
	c.output, c.stderr = stdout.String(), stderr.String()
	text, err := os.ReadFile(path)
	if err != nil {
		return seen, err
	}
	return seen, json.Unmarshal(text, &seen)
}

// sample repeats the command for the length of a turn, but at least once and at most maxSamples times.
func (c *command) sample(ctx context.Context, l *lab) (measurement, error) {
	var t measurement
	for total := time.Duration(0); len(t.samples) == 0 || total < l.long && len(t.samples) < maxSamples; {
		seen, err := c.run(ctx, l)
		if err != nil {
			return t, err
		}
		t.samples = append(t.samples, seen.Took)
		t.peakRSS = max(t.peakRSS, seen.PeakRSS)
		total += seen.Took
	}
	return t, nil
}
