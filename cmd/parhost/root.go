package main

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/wire"
)

// options holds the flags and arguments of the root command.
type options struct {
	plugin     string
	pluginDirs []string
	procs      int
	mode       string
	threads    int
	compare    bool

	items      []string // arguments of the command
	input      string
	stdinTaken bool   // no other source was given, so stdin is the source
	span       string // value of --range
	repeat     int
	output     string
	raw        bool
	keepLines  bool
	withItem   bool
	unordered  bool

	itemTimeout     time.Duration
	itemCPU         time.Duration
	runDeadline     time.Duration
	startTimeout    time.Duration
	setupTimeout    time.Duration
	teardownTimeout time.Duration
	maxItem         string
	maxResult       string
	maxOutput       string
	retries         int
	retryAlways     bool
	onError         string
	seed            uint64 // seed of the run; random if none was given
	seedGiven       bool
	standby         int
	memoryRetries   int
	minProcs        int
	maxIdle         time.Duration
	maxItems        int
	maxAge          time.Duration
	maxRSS          string
	batch           string
	window          int
	env             []string

	confinement confinement
	pins        pins
	building    building

	joblog       string
	resume       bool
	resumeFailed bool
	resumeAnyway bool
	dossier      string

	progress  string
	verbose   bool
	report    string
	trace     string
	ui        string
	uiKeep    bool
	uiPublic  bool
	job       jobFlags
	pages     *pages // nil without --ui and --report FILE.html
	logLevel  string
	logFormat string
}

const rootLong = `Run a workload on many items in parallel, each worker a separate process, and see what that isolation costs and buys.

Items come from one source: arguments (each one JSON value), --input (JSON Lines, "-" for stdin), --range, or else stdin if it is
a pipe or a file, or else the plugin's own examples. Results go to stdout in the order of the items; progress, summary and logs go to stderr.`

const rootExample = `  parhost --plugin reduce --procs 8                              the plugin's example items on 8 processes
  seq 0 99999 | parhost --plugin sqrt --input - --output values  a filter: values out, in input order
  parhost --plugin sleep --procs 12 --repeat 20 0.2              an item as an argument, twenty times
  parhost --plugin reduce --procs 8 --compare                    the same items in every mode, side by side`

// exitCodes is the end of the help text of the commands that run items.
const exitCodes = `
Exit codes:
  0  every item has a result          2  wrong usage or unreadable input
  1  some items failed                3  no worker could be started
130  interrupted                      4  the sandbox cannot be given here
  1  also: the output cannot be written
`

// newRoot returns the root command with all its sub-commands.
func newRoot(s *streams) *cobra.Command {
	o := &options{building: building{say: s.say}}
	cmd := &cobra.Command{
		Use:               "parhost --plugin NAME [ITEM...]",
		Short:             "run a workload on many items in parallel, each worker a separate process",
		Long:              rootLong,
		Example:           rootExample,
		Args:              cobra.ArbitraryArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: checkEffects,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.items, o.seedGiven = args, cmd.Flags().Changed("seed")
			if o.plugin == "" {
				if len(args) == 0 && cmd.Flags().NFlag() == 0 {
					return cmd.Help()
				}
				if len(args) > 0 && !wire.IsJSON([]byte(args[0])) {
					return usageError("parhost --help lists the commands; items need a plugin, as in: parhost --plugin sqrt 2 3 4", "%q is no command, and there is no --plugin", args[0])
				}
				return usageError("parhost plugins list shows what there is; for example: parhost --plugin sqrt 2 3 4", "no --plugin")
			}
			return runItems(cmd.Context(), s, o)
		},
	}
	cmd.SetUsageTemplate(cmd.UsageTemplate() + exitCodes)
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.plugin, "plugin", "p", "", "workload name, executable, or Go package folder")
	f.StringArrayVar(&o.pluginDirs, "plugin-dir", nil, "folder with parhost-plugin-NAME executables (may be repeated; also PARHOST_PLUGIN_PATH)")
	f.IntVarP(&o.procs, "procs", "j", -1, "workers, no more than the limits of open files (ulimit -n) and processes (ulimit -u) allow; -1 = every CPU, -2 = all but one")
	f.StringVar(&o.mode, "mode", string(host.ModeProcess), "process, goroutine or sequential; with the last two an item that crashes ends parhost itself")
	f.IntVar(&o.threads, "threads", 0, "items at once inside one worker process (default what the plugin says, else 1)")
	f.BoolVar(&o.compare, "compare", false, "run the items in every mode, and with --sandbox without it too, check that the results agree, print the contrast")

	f.StringVarP(&o.input, "input", "i", "", "file of items, one JSON value a line; - for stdin")
	f.StringVar(&o.span, "range", "", "items START:STOP[:STEP], integers, without STOP itself")
	f.IntVar(&o.repeat, "repeat", 1, "give the whole list of items this many times")
	f.Uint64Var(&o.seed, "seed", 0, "what items draw their random numbers by, for a run that can be repeated (default another one for each run)")
	f.StringVarP(&o.output, "output", "o", "", "table, jsonl, values or none (default table on a terminal, else jsonl)")
	f.BoolVar(&o.raw, "raw", false, "with --output values: strings without quotes and as they are, data for a file or a program: what steers a terminal is not escaped")
	f.BoolVar(&o.keepLines, "keep-lines", false, "with --output values: an empty line for a failed item and for a blank line, so that line N of the output is of line N of the input")
	f.BoolVar(&o.withItem, "with-item", false, "with --output jsonl: the item itself in each record")
	f.BoolVar(&o.unordered, "unordered", false, "results as they finish, not in the order of the items")

	f.DurationVar(&o.itemTimeout, "item-timeout", 0, "limit of one item (default none)")
	f.DurationVar(&o.itemCPU, "item-cpu", 0, "limit of the CPU time of one item, in a worker process that then runs one item at a time (default none)")
	f.DurationVar(&o.runDeadline, "run-deadline", 0, "limit of the whole run by the clock, pauses of this process included (default none)")
	f.DurationVar(&o.startTimeout, "start-timeout", 10*time.Second, "limit of a worker's start, without the workload's own set-up")
	f.DurationVar(&o.setupTimeout, "setup-timeout", 5*time.Minute, "limit of the workload's own set-up in a worker")
	f.DurationVar(&o.teardownTimeout, "teardown-timeout", 5*time.Second, "limit of the workload's own tear-down when a worker ends; then the worker is killed")
	f.IntVar(&o.retries, "retries", 0, "attempts more after a crash, a timeout or running out of memory, if the plugin is idempotent")
	f.IntVar(&o.memoryRetries, "memory-retries", 0, "of these, how many after running out of memory, counted apart; -1 = none (default as --retries)")
	f.BoolVar(&o.retryAlways, "retry-always", false, "retry items of plugins that are not idempotent too")
	f.StringVar(&o.onError, "on-error", "continue", "continue, stop, or the number (3) or share (5%) of failures to stop at: of all items or, if --input leaves their number open, of those that have ended, from 100 on")
	f.IntVar(&o.minProcs, "min-procs", 0, "begin with so many workers, have more up to --procs while items wait, and fewer when they are idle (default --procs)")
	f.IntVar(&o.standby, "standby", 0, "worker processes more, ready to take the place of one that ends")
	f.IntVar(&o.maxItems, "worker-max-items", 0, "replace a worker process after so many items (soft: between batches)")
	f.DurationVar(&o.maxAge, "worker-max-age", 0, "replace a worker process after this time (soft)")
	f.DurationVar(&o.maxIdle, "worker-max-idle", 0, "replace a worker that has had nothing to run for so long, or let it go beyond --min-procs (then 10s by default)")
	f.StringVar(&o.maxRSS, "worker-max-rss", "", "replace a worker process that is larger, such as 512MiB (soft)")
	f.StringVar(&o.maxItem, "max-item-bytes", "64MiB", "the most bytes of an item")
	f.StringVar(&o.maxResult, "max-result-bytes", "64MiB", "the most bytes of a result")
	f.StringVar(&o.maxOutput, "max-output-bytes", "256MiB", "what a worker may write on stdout and stderr beyond 4 MiB a second before it is killed")
	f.StringVar(&o.batch, "batch", "auto", "items per batch; auto sizes them by measured time")
	f.IntVar(&o.window, "window", 2, "batches that run or wait in a worker, for each of its threads")
	f.StringArrayVar(&o.env, "env", nil, "KEY=VALUE for the workers, or KEY to pass on the value of this environment (may be repeated)")

	o.confinement.flags(f)
	o.pins.flags(f)
	o.building.flag(f)

	f.StringVar(&o.joblog, "joblog", "", "journal of finished items: a `file` from which --resume goes on, whatever ended the run")
	f.BoolVar(&o.resume, "resume", false, "take the results that --joblog holds from there, and run only the other items")
	f.BoolVar(&o.resumeFailed, "resume-failed", false, "the same, but run items again that failed")
	f.BoolVar(&o.resumeAnyway, "resume-anyway", false, "the same, even if the results are of another build of the plugin, or of other --env")
	f.StringVar(&o.dossier, "dossier", "", "keep a file with all that is known of each failed item in this `folder`; parhost replay runs it again")

	o.job.flags(f)

	f.StringVar(&o.progress, "progress", "auto", "auto (live on a terminal, bar on a small one, lines elsewhere), live, bar, lines or none")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "a line of progress for every step, as joblib's verbose=10")
	f.StringVar(&o.ui, "ui", "", "show the run on a web page at this `address`, such as 127.0.0.1:8080")
	f.BoolVar(&o.uiKeep, "ui-keep", false, "keep the page after the run, until Ctrl-C")
	f.BoolVar(&o.uiPublic, "ui-public", false, "allow an address that other machines reach; there is no encryption")
	f.StringVar(&o.report, "report", "", "write a summary of the run to this .json `file`, or the page of the run to this .html file, which needs no network")
	f.StringVar(&o.trace, "trace", "", "write what ran where and when to this `file`, for https://ui.perfetto.dev")
	f.StringVar(&o.logLevel, "log-level", "warn", "trace, debug, info, warn, error or off")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")

	cmd.AddCommand(newPlugins(s), newNew(s), newDoctor(s), newReplay(s), newReport(s), newVersion(s), newMan(),
		newServe(s), newKeys(s), newWorker(s), newJobs(s), newNodes(s), newQueue(s), newExplain(s))
	cmd.SetFlagErrorFunc(flagError)
	cmd.SetHelpFunc(s.help(cmd.HelpFunc()))
	cmd.Version = string(thisBuild().layout())
	cmd.SetVersionTemplate("{{.Version}}\n")
	completeFlags(cmd, o)
	return cmd
}

// config turns the flags into a pool's config, which still lacks the plugin.
func (o *options) config(ctx context.Context, s *streams) (host.Config, error) {
	var cfg host.Config
	switch mode := host.Mode(o.mode); mode {
	case host.ModeProcess, host.ModeGoroutine, host.ModeSequential:
		cfg.Mode = mode
	default:
		return cfg, usageError("write --mode process, --mode goroutine or --mode sequential", "--mode %q is no mode", o.mode)
	}
	if o.procs == 0 {
		return cfg, usageError("write --procs 1 for one worker, --procs -1 for one per CPU, --procs -2 for all CPUs but one", "--procs 0: no worker could run anything")
	}
	if err := notNegative(map[string]any{
		"threads": o.threads, "retries": o.retries, "standby": o.standby, "worker-max-items": o.maxItems, "window": o.window, "min-procs": o.minProcs,
		"item-timeout": o.itemTimeout, "item-cpu": o.itemCPU, "run-deadline": o.runDeadline, "start-timeout": o.startTimeout, "setup-timeout": o.setupTimeout,
		"teardown-timeout": o.teardownTimeout, "worker-max-age": o.maxAge, "worker-max-idle": o.maxIdle,
	}); err != nil {
		return cfg, err
	}
	if o.memoryRetries < -1 {
		return cfg, usageError("write a number from 0, or -1 for none", "--memory-retries %d is no number of attempts", o.memoryRetries)
	}
	if n, err := host.CountWorkers(o.procs); err == nil && o.minProcs > n {
		return cfg, usageError("write a number up to that of --procs", "--min-procs %d is more than the %d that --procs allows", o.minProcs, n)
	}
	batch, err := parseBatch(o.batch)
	if err != nil {
		return cfg, err
	}
	rss, err := parseBytes("worker-max-rss", o.maxRSS)
	if err != nil {
		return cfg, err
	}
	for _, size := range []struct {
		flag, text string
		to         *int
	}{{"max-item-bytes", o.maxItem, &cfg.MaxItemBytes}, {"max-result-bytes", o.maxResult, &cfg.MaxResultBytes}, {"max-output-bytes", o.maxOutput, &cfg.MaxOutputBytes}} {
		if *size.to, err = messageSize(size.flag, size.text); err != nil {
			return cfg, err
		}
	}
	logger, err := o.logger(s)
	if err != nil {
		return cfg, err
	}
	cfg.Workers, cfg.Threads = o.procs, o.threads
	cfg.Batch, cfg.Window = batch, o.window
	cfg.ItemCPU = o.itemCPU
	cfg.ItemTimeout, cfg.StartTimeout, cfg.SetupTimeout = o.itemTimeout, o.startTimeout, o.setupTimeout
	cfg.TeardownTimeout = o.teardownTimeout
	cfg.Retries, cfg.MemoryRetries, cfg.RetryAlways = o.retries, o.memoryRetries, o.retryAlways
	cfg.MinWorkers, cfg.Standby = o.minProcs, o.standby
	cfg.MaxItems, cfg.MaxAge, cfg.MaxIdle, cfg.MaxRSS = o.maxItems, o.maxAge, o.maxIdle, rss
	cfg.Logger = logger
	if cfg.Sandbox, err = o.confinement.policyOrWarning(ctx, s); err != nil {
		return cfg, err
	}
	if cfg.Mode != host.ModeProcess && !reflect.ValueOf(cfg.Sandbox).IsZero() {
		return cfg, usageError("leave --mode out; --compare runs the same items in all modes", "--mode %s runs items inside parhost itself, which no sandbox and no limit can confine", cfg.Mode)
	}
	cfg.Env, err = parseEnv(o.env)
	return cfg, err
}

func (o *options) logger(s *streams) (hclog.Logger, error) {
	level := hclog.LevelFromString(o.logLevel)
	if level == hclog.NoLevel {
		return nil, usageError("write --log-level trace, debug, info, warn, error or off", "--log-level %q is no level", o.logLevel)
	}
	if o.logFormat != "text" && o.logFormat != "json" {
		return nil, usageError("write --log-format text or --log-format json", "--log-format %q is no format", o.logFormat)
	}
	log := &hclog.LoggerOptions{Name: "parhost", Output: flagWords{s.err.messages()}, Level: level}
	if o.logFormat == "json" {
		log.JSONFormat, log.Output = true, flagWords{s.err.json()}
	}
	return o.pages.logger(hclog.NewInterceptLogger(log)), nil
}

// describeMode returns a mode and its number of workers for people, such as "process × 2".
func describeMode(mode host.Mode, workers int) string {
	if mode == host.ModeSequential {
		return string(mode)
	}
	return fmt.Sprintf("%s × %d", mode, workers)
}
