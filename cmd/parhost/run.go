package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"reflect"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dashboard"
	"github.com/parhost/parhost/host/history"
	"github.com/parhost/parhost/host/joblog"
	"github.com/parhost/parhost/internal/wire"
)

// runItems is the root command: it runs the items and shows their results.
func runItems(ctx context.Context, s *streams, o *options) (err error) {
	takeStdin(s, o)
	if err := checkSources(o); err != nil {
		return err
	}
	warnOfStdout(s, o)
	if err := checkReport("--report", o.report); err != nil {
		return err
	}
	if err := checkFiles(s, o); err != nil {
		return err
	}
	if err := checkJoblog(o); err != nil {
		return err
	}
	if err := checkCluster(o); err != nil {
		return err
	}
	if !o.seedGiven {
		o.seed = rand.Uint64N(1 << 53) // 53 bits, which every JSON reader keeps exactly
	}
	ctx = host.WithSeed(ctx, o.seed)
	policy, err := parseOnError(o.onError)
	if err != nil {
		return err
	}
	if o.pages, err = openPages(ctx, s, o); err != nil {
		return err
	}
	defer func() { o.pages.close(s, err) }()
	cfg, err := o.config(ctx, s)
	if err != nil {
		return err
	}
	if err := keep(&cfg.Sandbox, func() []held { return o.held(ctx, s) }); err != nil {
		return err
	}
	summary, err := openReport(s, "--report", o.report)
	if err != nil {
		return err
	}
	defer summary.close()
	if o.progress == "none" {
		o.building.say = nil
	}
	whole, cancel := o.untilDeadline(ctx)
	defer cancel()
	err = s.untilInterrupted(whole, func(ctx context.Context) error {
		found, err := pluginConfig(ctx, o.plugin, o.pluginDirs, o.building)
		if err != nil && errors.Is(context.Cause(ctx), errDeadline) {
			return &exitError{code: exitFailed, err: fmt.Errorf("the run passed --run-deadline %v while its plugin was built", o.runDeadline)}
		}
		if err != nil {
			return err
		}
		cfg.Plugin, cfg.PluginWorkload, cfg.Workload = found.Plugin, found.PluginWorkload, found.Workload
		if err := o.pins.hold(&cfg); err != nil {
			return err
		}
		return o.limitWorkers(ctx, &cfg)
	})
	if err != nil {
		return err
	}
	if o.compare {
		return s.untilInterrupted(ctx, func(ctx context.Context) error {
			return whenInterrupted(ctx, compareModes(ctx, s, o, cfg, summary))
		})
	}
	if cfg.Mode != host.ModeProcess && cfg.Workload == nil {
		return usageError(
			fmt.Sprintf("--procs 1 --threads N runs N items at once inside one process of %s", o.plugin),
			"--mode %s runs a workload inside parhost itself, and %s is an executable", cfg.Mode, cfg.Plugin)
	}
	r := &itemRun{streams: s, options: o, policy: policy, history: history.New(), summary: summary}
	r.bare = reflect.ValueOf(cfg.Sandbox).IsZero() && len(o.env) == 0 && len(o.pluginDirs) == 0
	r.view.history, r.view.limit, r.view.replay = r.history, cfg.Sandbox.MemoryBytes, r.replayLine
	r.history.Refine(r.refine)
	if o.job.url != "" {
		return r.runOnCluster(whole, cfg)
	}
	cfg.Eager = o.many(poolWorkers(cfg))
	return r.run(whole, cfg)
}

// many reports whether there are more items than workers, as far as that is known before the plugin reports its examples. With many items, the run
// starts as soon as one worker is ready. A few items wait until all workers are ready, because a user who asks for eight processes for eight items
// wants all eight to work.
func (o *options) many(workers int) bool {
	items := len(o.items)
	switch {
	case o.input != "":
		return true
	case o.span != "":
		span, _ := parseRange(o.span) // openSource reports an invalid range
		items = span.count()
	}
	return items > workers/max(1, o.repeat)
}

// limitWorkers limits the number of workers to the number of items if that is known. It asks an executable for the number of its examples only if
// there would be more workers than CPUs, because asking starts a process.
func (o *options) limitWorkers(ctx context.Context, cfg *host.Config) error {
	workers := poolWorkers(*cfg)
	items := -1
	switch {
	case o.input != "" || workers <= 1:
	case o.span != "":
		span, err := parseRange(o.span)
		if err != nil {
			return err
		}
		items = span.count()
	case len(o.items) > 0:
		items = len(o.items)
	case cfg.Workload != nil:
		items = len(cfg.Workload.Manifest().Examples)
	default:
		if cpus, err := host.CountWorkers(-1); err == nil && workers > cpus {
			if m, err := host.Describe(ctx, *cfg); err == nil { // on an error, the start of the run reports what is wrong
				items = len(m.Examples)
			}
		}
	}
	if items < 1 || o.repeat < 1 || items > workers/o.repeat {
		return nil
	}
	if items *= o.repeat; items < workers {
		cfg.Workers, cfg.MinWorkers = items, min(cfg.MinWorkers, items)
	}
	return nil
}

// itemRun is one run of items in a single mode.
type itemRun struct {
	*streams
	*options
	policy  haltPolicy
	history *history.Store
	view    liveView

	journal  *joblog.Journal // nil without --joblog
	dossiers *dossiers       // nil without --dossier
	underWay *underWay       // nil without --with-item
	summary  *report         // nil without --report
	source   *source
	out      output
	progress progress
	sum      summary
	bare     bool  // the run has no sandbox, no limits, and no settings of its plugin
	hinted   bool  // the hint for items that are not JSON has been printed
	enough   bool  // no more results are wanted
	lost     error // why results could not be written
}

var (
	errDeadline    = errors.New("the run passed its deadline")
	errInterrupted = errors.New("interrupted")
)

// untilDeadline returns a context that ends after --run-deadline.
func (o *options) untilDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.runDeadline > 0 {
		return context.WithTimeoutCause(ctx, o.runDeadline, errDeadline)
	}
	return context.WithCancel(ctx)
}

func (r *itemRun) run(ctx context.Context, cfg host.Config) (err error) {
	begun := time.Now()
	// Open input and output first, so that errors in them show before a worker starts. The plugin's examples are only known after a worker has
	// started.
	if err := r.open(nil, r.input != "" || r.span != "" || len(r.items) > 0); err != nil {
		return err
	}
	if err := r.openJoblog(cfg); err != nil {
		return err
	}
	defer func() { err = r.closeJoblog(err) }()
	if err := r.openDossiers(cfg); err != nil {
		return err
	}
	defer r.dossiers.end()
	traced, err := openTrace(r.trace, r.plugin)
	if err != nil {
		return err
	}
	defer traced.end(r.streams)
	spans := openSpans(ctx, r.streams, r.plugin)
	defer spans.end(r.streams)
	ctx = spans.Context(ctx)
	if cfg.Observer = r.history; traced != nil || spans.Tracer != nil {
		cfg.Observer = host.ObserverFunc(func(e host.Event) {
			r.history.Observe(e)
			traced.Observe(e)
			spans.Observe(e)
		})
	}
	signals := make(chan os.Signal, 2)
	notifyInterrupts(signals)
	relayed, stopWatching := r.watchReaders(ctx, signals)
	defer func() {
		if code, _ := exitCode(err); code != exitInterrupted { // an interrupted run only has to exit, and another signal must not change its exit code
			signal.Stop(signals)
			stopWatching()
		}
	}()
	var pool *host.Pool
	err = interruptibly(ctx, relayed, func(ctx context.Context) (err error) {
		pool, err = host.Open(ctx, cfg)
		return err
	})
	if pool != nil {
		defer pool.Close()
	}
	if errors.Is(err, errInterrupted) {
		return err
	}
	if errors.Is(context.Cause(ctx), errDeadline) && err != nil {
		return &exitError{code: exitFailed, err: fmt.Errorf("the run passed --run-deadline %v while its workers started", r.runDeadline)}
	}
	if err != nil {
		r.sayNeedsOf(err, cfg.Sandbox)
		return err
	}
	r.sum.start = time.Since(begun)
	r.sayNeeds(pool.Manifest(), cfg.Sandbox)
	if r.source == nil {
		if err := r.open(examplesOf(pool.Manifest()), true); err != nil {
			return err
		}
	}
	defer r.source.close()
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	taken := make(chan struct{}) // closed when the loop over the results has ended
	interrupted := r.watch(ctx, leave, pool, relayed, taken)
	if r.sum.Sandbox = sandboxOf(pool); r.report != "" {
		r.sum.SHA256 = pool.Checksum()
	}
	if err := r.confine(pool); err != nil {
		return err
	}
	r.sum.Seed = r.seed
	r.sum.Plugin, r.sum.Mode = pool.Manifest().Name, cfg.Mode

	shown := r.pages.add(func() *dashboard.Run { return r.page(pool, &cfg) })
	steer := &steering{pool: pool, workers: poolWorkers(cfg), interrupts: signals}
	stopPage := r.pages.follow(steer)
	stopKeys := r.watchKeys(steer)
	r.progress.begin(r.source.total)
	err = r.take(ctx, pool)
	close(taken)
	r.sum.wall = time.Since(begun)
	stopKeys()
	stopPage()
	r.progress.end()
	if outErr := r.out.end(); r.lost == nil {
		r.lost = outErr
	}
	if err == nil && !r.enough || errors.Is(err, host.ErrClosed) {
		_ = pool.Shutdown(ctx) // all items are done, or all that had begun before an interrupt: let the workloads tear down
	}
	_ = pool.Close()
	r.sum.Workers = pool.Peak()
	return r.conclude(r.closeJoblog(err), interrupted(), shown)
}

// open opens the source of the items, the output and the progress display. If known is false, it leaves the source for later.
func (r *itemRun) open(examples []json.RawMessage, known bool) (err error) {
	if known {
		if r.source, err = openSource(r.streams, r.options, examples); err != nil {
			return err
		}
	}
	if r.out, err = newOutput(r.streams, r.options); err != nil {
		return err
	}
	if r.source != nil {
		r.pair()
	}
	r.progress, err = newProgress(r.streams, r.options, r.history, &r.view)
	return err
}

// confine makes records and dossiers report the sandbox around the workers.
func (r *itemRun) confine(pool *host.Pool) error {
	if r.dossiers != nil {
		if err := r.dossiers.origin.Check(pool); err != nil {
			return err
		}
		_, layers := pool.Sandbox()
		r.dossiers.files.Confined(layers)
	}
	if records, ok := r.out.(*recordOutput); ok {
		return records.confine(r.sum.Sandbox)
	}
	return nil
}

// watch handles signals during the run: after the first signal, running items finish but no others begin; the second signal kills them. leave ends
// the run after all running items have finished, because the run may be waiting for input that does not come. Once taken is closed, all results are
// out, and the first signal kills the workers that are still tearing down. The returned function stops watching and reports whether a signal arrived.
func (r *itemRun) watch(ctx context.Context, leave context.CancelCauseFunc, pool *host.Pool, signals <-chan os.Signal, taken <-chan struct{}) func() bool {
	over, done := make(chan struct{}), make(chan struct{})
	seen := false
	go func() {
		defer close(done)
		select {
		case <-signals:
			seen = true
		case <-over:
			return
		}
		select {
		case <-taken:
			r.say("parhost: interrupted: all results are out; workers that have not ended are killed")
			_ = pool.Close()
			return
		default:
		}
		r.say("parhost: interrupted: running items end, no others begin; once more kills them")
		shutdown, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-signals:
				cancel()
			case <-over:
			case <-shutdown.Done():
			}
		}()
		_ = pool.Shutdown(shutdown)
		leave(errInterrupted)
	}()
	return func() bool {
		close(over)
		<-done
		return seen
	}
}

// refine says what the run waits for where only the command knows: a reader of stdout that does not read, and the joblog.
func (r *itemRun) refine(w host.Waiting) host.Waiting {
	if r.journal != nil {
		r.history.Resumed(r.journal.Replayed())
	}
	if w.For == host.WaitNothing && r.outlets.out.writing() { // the pool is done, but the results are not all out
		w.For = host.WaitReader
	}
	if w.For != host.WaitReader && w.For != host.WaitInput {
		return w
	}
	if r.journal != nil {
		seen, waits := r.journal.Waiting()
		switch {
		case waits:
			w = seen
		case w.For == host.WaitReader && r.journal.Writing():
			w.For = history.WaitJoblog
		}
	}
	if w.For == host.WaitReader && r.outlets.out.writing() {
		w.For = history.WaitStdout
	}
	return w
}

// fault counts a failed item and adds the item's place in the input to its message.
func (r *itemRun) fault(result *result) {
	r.sum.Failed++
	if r.sum.Kinds == nil {
		r.sum.Kinds = map[host.Kind]int{}
	}
	own := *result.Err // copy the error, because observers may hold the original
	result.Err = &own
	r.sum.Kinds[result.Err.Kind]++
	inFlagsOf(result.Err)
	if cause := result.Err.Cause; cause != "" {
		if r.sum.Causes == nil {
			r.sum.Causes = map[host.Cause]int{}
		}
		r.sum.Causes[cause]++
	}
	defer r.sayFailure(result.Err)
	if result.Err.Kind != host.KindBadItem {
		return
	}
	where := r.source.place(result.Index)
	if result.Err.Offset > 0 {
		if where != "" {
			where += ", "
		}
		where += fmt.Sprintf("column %d", result.Err.Offset)
	}
	if where != "" {
		result.Err.Message = where + ": " + result.Err.Message
	}
}

// conclude prints the summary and returns the final error of the command.
func (r *itemRun) conclude(err error, interrupted bool, page *shownRun) error {
	r.sum.summarize(r.history)
	var fatal error
	var journal *joblog.WriteError
	switch {
	case errors.As(err, &journal):
		fatal = joblogError(journal)
		r.journal = nil // fatal names the journal already; no other message may
	case isPipeError(r.lost): // the reader of stdout has gone, as head does; this ends the run, but is not a failure
		r.sum.Stopped = "nobody reads stdout any more"
		page.end(r.sum.whole())
		if err := r.summary.write(&r.sum, r.pages.report); err != nil {
			return r.summary.failed(err)
		}
		return nil
	case r.lost != nil && !errors.Is(r.lost, errNotRead):
		fatal = r.lostError()
	case interrupted:
		r.sum.Stopped = "interrupted"
		fatal = &exitError{code: exitInterrupted, err: errSaid}
	case errors.Is(err, errDeadline), r.lost != nil: // r.lost is errNotRead here, and only an interrupt or the deadline stops waiting for a reader
		r.sum.Stopped = fmt.Sprintf("passed --run-deadline %v", r.runDeadline)
		fatal = &exitError{code: exitFailed, err: errSaid}
	case err != nil:
		fatal = err
	case r.source.failure() != nil:
		fatal = &exitError{code: exitUsage, err: r.source.failure()}
	case r.sum.Failed > 0:
		fatal = &exitError{code: exitFailed, err: errSaid}
	}
	if errors.Is(r.lost, errNotRead) {
		lost := r.lostError()
		r.say("parhost: error: %v", lost.err)
		r.say("parhost: hint: %s", lost.hint)
	}
	r.sayOtherFailures()
	r.sayUnread()
	r.sayEmpty()
	r.say("%d %s · %s", r.sum.Items, wire.Things(r.sum.Items, "item"), &r.sum)
	page.end(r.sum.whole() + reasonOf(fatal))
	r.sayResume()
	if r.dossiers != nil {
		r.dossiers.say(r.streams)
	}
	if reportErr := r.summary.write(&r.sum, r.pages.report); reportErr != nil && fatal == nil {
		fatal = r.summary.failed(reportErr)
	}
	return fatal
}

// reasonOf returns why a run has failed as a whole, for the end of its summary on the page.
func reasonOf(fatal error) string {
	if fatal == nil || errors.Is(fatal, errSaid) {
		return ""
	}
	return " · " + fatal.Error()
}

func poolWorkers(cfg host.Config) int {
	if cfg.Mode == host.ModeSequential {
		return 1
	}
	n, err := host.CountWorkers(cfg.Workers)
	if err != nil {
		return 0 // host.Open reports this error
	}
	return n
}
