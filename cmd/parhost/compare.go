package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dashboard"
	"github.com/parhost/parhost/host/history"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/wire"
)

// rung is one mode of a comparison, with the measurements of its run.
type rung struct {
	summary
	Label      string `json:"label"`
	HostRSS    int64  `json:"host_peak_rss_bytes,omitempty"`
	WorkersRSS int64  `json:"workers_peak_rss_bytes,omitempty"`
	Takes      string `json:"a_crash_takes"`
	Shares     bool   `json:"memory_shared"`
	outcomes   []outcome
	failure    string // message of the first item that failed
}

// compareModes runs the same items in every mode, checks that the results agree, and prints a table of the differences in cost.
//
// --run-deadline limits all modes together, including the time for reading the items. The times in the table do not include reading.
func compareModes(ctx context.Context, s *streams, o *options, cfg host.Config, summary *report) error {
	if o.runDeadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.runDeadline, errDeadline)
		defer cancel()
	}
	err := compareAll(ctx, s, o, cfg, summary)
	if err != nil && errors.Is(context.Cause(ctx), errDeadline) {
		return &exitError{code: exitFailed, err: fmt.Errorf("the comparison passed --run-deadline %v", o.runDeadline)}
	}
	return err
}

func compareAll(ctx context.Context, s *streams, o *options, cfg host.Config, summary *report) error {
	if cfg.Workload == nil {
		return compareExecutable(ctx, s, o, cfg, summary)
	}
	return compareRungs(ctx, s, o, summary, ladder(cfg, []labelled{
		{"sequential", "the whole program", true, withMode(cfg, host.ModeSequential)},
		{"goroutine", "the whole program", true, withMode(cfg, host.ModeGoroutine)},
		{"process", "one item", false, withMode(cfg, host.ModeProcess)},
	}))
}

// ladder removes the sandbox from the modes, and appends modes with it: processes with only its limits, and processes in the sandbox itself.
func ladder(cfg host.Config, modes []labelled) []labelled {
	for i := range modes {
		modes[i].cfg.Sandbox = sandbox.Policy{}
	}
	p := cfg.Sandbox
	if limits := (sandbox.Policy{MemoryBytes: p.MemoryBytes, CPUs: p.CPUs, PIDs: p.PIDs, FileBytes: p.FileBytes, OpenFiles: p.OpenFiles}); !reflect.ValueOf(limits).IsZero() {
		cfg.Sandbox = limits
		modes = append(modes, labelled{"limited process", "one item", false, withMode(cfg, host.ModeProcess)})
	}
	if p.Level > sandbox.Off {
		cfg.Sandbox = p
		modes = append(modes, labelled{p.Level.String() + " sandbox", "one item", false, withMode(cfg, host.ModeProcess)})
	}
	return modes
}

// compareExecutable compares the modes that are possible with an executable. It cannot run inside this program, so one process replaces the
// sequential mode, and one process with several threads replaces the goroutines.
func compareExecutable(ctx context.Context, s *streams, o *options, cfg host.Config, summary *report) error {
	if cfg.Sandbox.Level > sandbox.Off {
		s.say("parhost: warning: --compare runs %s without a sandbox too, to compare with; leave it out for what you do not trust", o.plugin)
	}
	one, threads := cfg, cfg
	one.Workers, one.Threads = 1, 1
	threads.Workers, threads.Threads = 1, poolWorkers(cfg)
	if threads.Threads > 1 {
		threads.ItemCPU = 0 // a process says what it uses, and not what each of its items does
	}
	return compareRungs(ctx, s, o, summary, ladder(cfg, []labelled{
		{"1 process", "one item", false, one},
		{"1 process, " + wire.Count(threads.Threads, "thread"), "the items that run", true, threads},
		{"process", "one item", false, cfg},
	}))
}

type labelled struct {
	label, takes string
	shares       bool
	cfg          host.Config
}

func withMode(cfg host.Config, mode host.Mode) host.Config {
	cfg.Mode = mode
	if mode != host.ModeProcess {
		cfg.ItemCPU = 0 // goroutines share the CPU time of this process
	}
	return cfg
}

func compareRungs(ctx context.Context, s *streams, o *options, summary *report, modes []labelled) error {
	if o.output != "" && o.output != "table" && o.output != "none" {
		return usageError("leave --output out, and write --report FILE.json for numbers to work with", "--compare prints a table, not %s", o.output)
	}
	var items []json.RawMessage
	var rungs []*rung
	for _, m := range modes {
		r := &rung{Label: m.label, Takes: m.takes, Shares: m.shares}
		var err error
		if items, err = r.run(ctx, s, o, m.cfg, items); err != nil {
			return fmt.Errorf("%s: %w", m.label, err)
		}
		if rungs = append(rungs, r); r.SHA256 != rungs[0].SHA256 {
			err := fmt.Errorf("in the mode %q its SHA-256 was %q, and is %q", rungs[0].Label, rungs[0].SHA256, r.SHA256)
			return &exitError{code: exitNoWorker, err: fmt.Errorf("%s: %w", m.label, &sandbox.ChangedError{Path: m.cfg.Plugin, Err: err})}
		}
	}
	if len(items) == 0 {
		return usageError("give at least one item", "there are no items to compare with")
	}
	var differ error
	for _, r := range rungs[1:] {
		if differ = sameResults(rungs[0], r); differ != nil {
			s.say("parhost: error: %v", differ)
			s.say("parhost: hint: a workload that tells the time, or draws random numbers that are not from sdk.Rand, cannot agree with itself")
			break
		}
	}
	if err := summary.write(rungs, func() *dashboard.Report { return contrastOf(o.pages, rungs) }); err != nil { // before the table, because stdout may be closed already
		if err := summary.failed(err); err != nil {
			return err
		}
	}
	if o.output != "none" {
		if err := printContrast(s, rungs); err != nil && !isPipeError(err) {
			return &exitError{code: exitFailed, err: fmt.Errorf("write the table: %w", err)}
		}
	}
	if differ != nil {
		return &exitError{code: exitFailed, err: errSaid}
	}
	if rungs[0].Failed > 0 {
		s.say("parhost: %d of %d %s failed, in every mode alike, the first: %v", rungs[0].Failed, rungs[0].Items, wire.Things(rungs[0].Items, "item"), rungs[0].failure)
		return &exitError{code: exitFailed, err: errSaid}
	}
	return nil
}

// run runs the items in one mode and fills r. The first mode passes nil and reads the items; the others get the items that it returned.
func (r *rung) run(ctx context.Context, s *streams, o *options, cfg host.Config, items []json.RawMessage) (_ []json.RawMessage, err error) {
	runtime.GC()
	events := history.New()
	cfg.Observer = events
	resetPeakRSS()
	begun := time.Now()
	pool, err := host.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	r.start = time.Since(begun)
	if items == nil {
		src, err := openSource(s, o, examplesOf(pool.Manifest()))
		if err != nil {
			return nil, err
		}
		defer src.close()
		items = slices.Collect(src.items)
		if err := src.failure(); err != nil {
			return nil, usageError("", "%v", err)
		}
	}
	s.say("parhost: %s …", r.Label)
	total := len(items)
	shown := o.pages.add(func() *dashboard.Run {
		return &dashboard.Run{
			Store: events, Label: r.Label, Title: pool.Manifest().Name, Limit: cfg.Sandbox.MemoryBytes, Facts: factsOf(pool, &cfg, o.seed),
			Total: func() (int, bool) { return total, false },
		}
	})
	defer func() { // if it ends early
		if err != nil {
			shown.end(err.Error())
		}
	}()
	r.Seed = o.seed
	r.Plugin, r.Mode = pool.Manifest().Name, cfg.Mode
	running := time.Now()
	for result, err := range host.BindJSON[json.RawMessage, json.RawMessage](pool).Stream(ctx, slices.Values(items)) {
		if err != nil {
			return nil, err
		}
		r.Items++
		if result.Err == nil {
			r.OK++
		} else {
			r.Failed++
			r.failure = cmp.Or(r.failure, result.Err.Error())
		}
		r.outcomes = append(r.outcomes, outcomeOf(&result))
	}
	r.wall, r.Workers = time.Since(running), pool.Peak()
	r.HostRSS = peakRSS(0)
	if cfg.Mode == host.ModeProcess {
		for _, w := range pool.Workers() {
			r.WorkersRSS += peakRSS(w.PID)
		}
	}
	if cfg.Workload == nil {
		r.SHA256 = pool.Checksum()
	}
	if err := pool.Shutdown(ctx); err != nil { // after Shutdown the history has received all events
		return nil, err
	}
	r.summarize(events)
	shown.end(r.whole())
	return items, nil
}

// contrastOf returns the comparison as a page.
func contrastOf(p *pages, rungs []*rung) *dashboard.Report {
	report := p.report()
	report.Contrast = &dashboard.Contrast{Verdict: verdict(rungs)}
	for _, r := range rungs {
		report.Contrast.Modes = append(report.Contrast.Modes, dashboard.Mode{
			Label: r.Label, Workers: r.Workers, Wall: r.wall.Seconds(), Start: r.start.Seconds(), PerSecond: r.ItemsPerSecond,
			SpeedUp: rungs[0].wall.Seconds() / max(r.wall.Seconds(), 1e-9), Dispatch: r.DispatchMicros,
			Items: r.Items, Failed: r.Failed, HostRSS: r.HostRSS, WorkersRSS: r.WorkersRSS, Takes: r.Takes, Shared: r.Shares,
		})
	}
	return report
}

// sameResults returns an error that describes the first difference between the results of two modes, or nil.
func sameResults(a, b *rung) error {
	for i := range min(len(a.outcomes), len(b.outcomes)) {
		if x, y := a.outcomes[i], b.outcomes[i]; x != y {
			return fmt.Errorf("item %d: %s gives %s, %s gives %s", i, a.Label, x.shown, b.Label, y.shown)
		}
	}
	return nil
}

// outcome is the part of a result that must be equal in every mode: the value, or the kind and message of the error. A result may be large, and each
// mode has one per item, so outcome keeps only the text to show and a hash.
type outcome struct {
	sum   [sha256.Size]byte // of the whole text, if the text was shortened; otherwise zero
	shown string
}

func outcomeOf(r *result) outcome {
	text := r.Value
	if r.Err != nil {
		text = fmt.Appendf(nil, "%s: %s", r.Err.Kind, r.Err.Message)
	}
	o := outcome{shown: shorten(text, 200)}
	if o.shown != string(text) {
		o.sum = sha256.Sum256(text)
	}
	return o
}

func printContrast(s *streams, rungs []*rung) error {
	w := newTable("mode", "workers", "wall", "items/s", "speed-up", "dispatch/item", "start-up", "host RSS", "workers RSS", "a crash takes", "memory")
	w.alignRight(2, 3, 4, 5, 6, 7, 8, 9)
	base := rungs[0].wall.Seconds()
	for _, r := range rungs {
		memory := "separate"
		if r.Shares {
			memory = "shared"
		}
		w.row(
			r.Label, r.Workers, micros(float64(r.wall.Nanoseconds())/1000), short(r.ItemsPerSecond),
			fmt.Sprintf("%.2f×", base/max(r.wall.Seconds(), 1e-9)), micros(r.DispatchMicros), micros(float64(r.start.Nanoseconds())/1000),
			mebibytes(r.HostRSS), mebibytes(r.WorkersRSS), r.Takes, memory,
		)
	}
	return s.out.printf("%s\n\n%s\n", w.layout(), verdict(rungs))
}

func mebibytes(n int64) string {
	if n == 0 {
		return "–"
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// verdict says in words which mode is the fastest, and from which item time on processes are faster than a sequence.
//
// With n items of t seconds on w workers, the sequence takes n·t and processes take S + n·(t+d)/w, where S is their start-up time and d the dispatch
// time per item. Both take the same time at t = (S/n + d/w) / (1 − 1/w).
func verdict(rungs []*rung) string {
	sequence, shared, process := rungs[0], rungs[1], rungs[2]
	best := slices.MinFunc(rungs, func(a, b *rung) int { return int((a.start + a.wall) - (b.start + b.wall)) })
	item := time.Duration(0)
	if sequence.Items > 0 {
		item = time.Duration(sequence.RunSeconds / float64(sequence.Items) * 1e9)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "An item takes %s here, and %s mode is the fastest, start-up included.", micros(float64(item.Nanoseconds())/1000), best.Label)
	w := float64(process.Workers)
	d := process.dispatchEachItem.Seconds()
	switch {
	case process.Workers < 2:
		b.WriteString(" One process cannot be faster than the sequence; --procs 2 or more could.")
	default:
		even := (process.start.Seconds()/float64(process.Items) + d/w) / (1 - 1/w)
		fmt.Fprintf(&b, " Processes are faster than the sequence from %s per item on (%s in a pool that is already running).",
			micros(even*1e6), micros(d/w/(1-1/w)*1e6))
	}
	if ratio := process.wall.Seconds() / max(shared.wall.Seconds(), 1e-9); ratio > 1.01 {
		fmt.Fprintf(&b, " Against %s they cost %.0f %% more time, and buy that a crash takes %s.", shared.Label, 100*(ratio-1), process.Takes)
	} else {
		fmt.Fprintf(&b, " They are no slower than %s, and a crash takes %s.", shared.Label, process.Takes)
	}
	for _, confined := range rungs[3:] {
		fmt.Fprintf(&b, " A %s starts in %s instead of %s, and its items take %s.", confined.Label, micros(float64(confined.start.Nanoseconds())/1000),
			micros(float64(process.start.Nanoseconds())/1000), comparedTime(confined.wall.Seconds()/max(process.wall.Seconds(), 1e-9)))
	}
	return b.String()
}

// comparedTime says in words how much more or less time something takes. ratio is its time divided by the time of the other.
func comparedTime(ratio float64) string {
	switch percent := math.Round(100 * (ratio - 1)); {
	case percent > 0:
		return fmt.Sprintf("%.0f %% more time", percent)
	case percent < 0:
		return fmt.Sprintf("%.0f %% less time", -percent)
	default:
		return "the same time"
	}
}
