// Command bench compares parhost with its peers on the same work in one session.
//
// Each row of its table is one piece of work. The contenders take turns, parhost first, round after round, so that other load on the machine affects
// all of them alike. Each answer is compared with the right one. The figure of a contender is the median of its turns; the goals for parhost are
// judged by these figures only.
//
// make bench installs the peers, runs everything and writes RESULTS.md and results.svg.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parhost/parhost/plugins/reduce"
	"github.com/parhost/parhost/plugins/sleep"
	"github.com/parhost/parhost/plugins/sqrt"
	"github.com/parhost/parhost/sdk"
)

// workloads are the workloads that worker processes of this program serve.
var workloads = []sdk.AnyWorkload{reduce.Workload, sleep.Workload, spinWorkload, sqrt.Workload, sumWorkload}

func main() {
	if code, done := playChild(); done {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// playChild runs a process that another process of this program has started for a special role: a worker, a plain plugin, a witness or a sleeper.
// done reports whether it had such a role; the process must then exit with code.
func playChild() (code int, done bool) {
	sdk.ServeChild(workloads...)
	if servePlain() {
		return 0, true
	}
	if path := os.Getenv(witnessEnv); path != "" {
		return witness(path, os.Args[1:]), true
	}
	if n, err := strconv.Atoi(os.Getenv(napsEnv)); err == nil {
		return nap(n, os.Stdout), true
	}
	return 0, false
}

// run runs the whole command and returns its exit code: 1 if a contender failed or gave a wrong answer, 2 for wrong usage. A goal that is missed does
// not change the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rounds := flags.Int("rounds", 5, "turns of each contender")
	long := flags.Duration("long", time.Second, "how long one turn goes on measuring")
	only := flags.String("rows", "", "run only the rows whose name matches this `regexp`")
	short := flags.Bool("short", false, "tiny sizes and one round, to see it work")
	out := flags.String("out", "", "write RESULTS.md and results.svg into this `folder` instead of the former to stdout")
	tools := flags.String("tools", ".bin/bench", "the `folder` where the peers are set up")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if *rounds < 1 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "bench: error: -rounds is from 1, and there are no arguments")
		return 2
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintf(stderr, "bench: error: -rows: %v\n", err)
		return 2
	}
	s := session{rounds: *rounds, short: *short, progress: stderr}
	if *short {
		s.rounds, *long = 1, 0
	}
	chosen := slices.DeleteFunc(rows(), func(r row) bool { return !pattern.MatchString(r.name) })
	if err := bench(ctx, s, chosen, *tools, *long, *out, stdout); err != nil {
		fmt.Fprintf(stderr, "bench: error: %v\n", err)
		return 1
	}
	return 0
}

// bench runs the rows and writes the report.
func bench(ctx context.Context, s session, chosen []row, tools string, long time.Duration, out string, stdout io.Writer) error {
	l, err := openLab(ctx, tools, long)
	if err != nil {
		return err
	}
	defer l.Close()
	rep := report{machine: describeMachine(ctx, l), session: s, long: long}
	for _, r := range chosen {
		result, err := s.run(ctx, l, r)
		if err != nil {
			return err
		}
		rep.results = append(rep.results, result)
	}
	if out == "" {
		err = rep.write(stdout)
	} else {
		err = rep.save(out)
	}
	return errors.Join(err, rep.failures())
}

// save writes the report and its chart into a folder.
func (r *report) save(folder string) error {
	r.chart = "results.svg"
	var text, chart strings.Builder
	if err := r.write(&text); err != nil {
		return err
	}
	if err := drawChart(&chart, r.results); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(folder, "RESULTS.md"), []byte(text.String()), 0o644),
		os.WriteFile(filepath.Join(folder, r.chart), []byte(chart.String()), 0o644),
	)
}
