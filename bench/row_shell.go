package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// shellRow compares parhost with shell tools that run many programs in parallel.
func shellRow() row {
	return row{
		name:  "shell",
		title: "echo × 2000, two at a time, whole command",
		about: "The shell's tools start a program for each line. parhost runs functions; to compare, its workload here is a function that starts the program (bench/echo).",
		size:  2000, small: 50,
		want: func(_ context.Context, _ *lab, n int) (string, error) { return digest(numbers(n)), nil },
		contenders: []contender{
			shellTool("parhost, a plugin that starts echo", func(l *lab) []string {
				return []string{l.parhost, "-p", l.echo, "--procs", "2", "--input", "-", "--output", "values", "--raw", "--progress", "none"}
			}),
			shellTool("xargs -P2", func(*lab) []string { return []string{"xargs", "-P2", "-n1", "echo"} }),
			shellTool("GNU parallel -j2", func(*lab) []string { return []string{"parallel", "--will-cite", "-j2", "echo"} }),
		},
	}
}

// shellTool returns a contender that runs a command which prints the numbers from its stdin, in any order.
func shellTool(name string, args func(l *lab) []string) contender {
	return contender{name: name, measure: func(ctx context.Context, l *lab, n int) (measurement, error) {
		c := command{args: args(l), stdin: filepath.Join(l.dir, fmt.Sprintf("%d.txt", n))}
		if _, err := exec.LookPath(c.args[0]); err != nil {
			return measurement{}, &missingError{c.args[0]}
		}
		if err := writeNumbers(c.stdin, n); err != nil {
			return measurement{}, err
		}
		t, err := c.sample(ctx, l)
		if err != nil {
			return t, err
		}
		var said []float64
		for text := range strings.FieldsSeq(c.output) {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return t, err
			}
			said = append(said, v)
		}
		slices.Sort(said)
		t.answer = digest(said)
		return t, nil
	}}
}
