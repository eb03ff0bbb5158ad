package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dossier"
	"github.com/parhost/parhost/host/joblog"
	"github.com/parhost/parhost/host/sandbox"
)

// replayOptions holds the flags of the replay command.
type replayOptions struct {
	plugin      string
	pluginDirs  []string
	mode        string
	itemTimeout time.Duration
	given       bool // itemTimeout was given
	chosen      bool // confinement.level was given
	env         []string
	confinement confinement
	pins        pins
	building    building
}

// newReplay returns the replay command, which runs a failed item again.
func newReplay(s *streams) *cobra.Command {
	o := &replayOptions{building: building{say: s.say}}
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "run a failed item again, from its dossier",
		Long: `Run an item again that failed in a run with --dossier, with the plugin and the time limit of that run, in one worker process. The result
goes to stdout; what became of the item, with stacks and the last lines of a process that died, to stderr.

A dossier is a file that others may have written to. So an executable that it names runs only as the bytes whose SHA-256 it has; another one
runs if --plugin names it. Where the dossier says that there was no sandbox, that executable runs if the dossier is signed, as those are which
parhost wrote for you on this machine, or with --sandbox off. The item runs at the higher one of --sandbox and the level of its run, within the lower limits of both. What the
run opened to its workers, such as files or the network, is opened again only by the same flag here, but for the system's libraries, and
nothing else can be opened.

With --mode goroutine a workload that is linked into this program runs inside it and without a time limit, as a debugger wants it. That of a
plugin is stepped through in a test of its own: dlv test, with package sdktest.`,
		Example: "  parhost replay dossiers/item-000017-4b227777d4dd.json\n  parhost replay FILE --plugin ./mended-plugin",
		Args:    between(1, 1, "parhost replay dossiers/item-000017-4b227777d4dd.json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd, s)
			defer stop()
			o.given, o.chosen = cmd.Flags().Changed("item-timeout"), cmd.Flags().Changed("sandbox")
			return whenInterrupted(ctx, replay(ctx, s, o, args[0]))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.plugin, "plugin", "p", "", "another plugin than that of the dossier: a name, an executable, or a Go package folder")
	f.StringArrayVar(&o.pluginDirs, "plugin-dir", nil, "`folder` with parhost-plugin-NAME executables (may be repeated; also PARHOST_PLUGIN_PATH)")
	f.StringVar(&o.mode, "mode", string(host.ModeProcess), "process or goroutine")
	f.DurationVar(&o.itemTimeout, "item-timeout", 0, "limit of the item (default that of the run; on a goroutine none)")
	f.StringArrayVar(&o.env, "env", nil, "KEY=VALUE for the worker, or KEY to pass on the value of this environment: dossiers hold none")
	o.confinement.flags(f)
	o.pins.flags(f)
	o.building.flag(f)
	return withExitCodes(cmd, `  0  the item has a result now          3  the plugin does not start
  1  it failed again                    4  the sandbox cannot be given here
  2  wrong usage, no dossier, or      130  interrupted
     another plugin than its run's
`)
}

func replay(ctx context.Context, s *streams, o *replayOptions, path string) error {
	if err := notNegative(map[string]any{"item-timeout": o.itemTimeout}); err != nil {
		return err
	}
	d, signed, err := dossier.ReadSigned(path, readKey())
	if err != nil {
		return usageError("a run of parhost with --dossier DIR writes one for each item that fails", "%v", err)
	}
	cfg, err := o.config(ctx, s, d, signed)
	if err != nil {
		return err
	}
	if err := keep(&cfg.Sandbox, func() []held {
		files := append(heldAlways(ctx, o.plugin, o.pluginDirs, &o.pins), held{what: "the dossier", path: path})
		return append(files, heldStreams(s)...)
	}); err != nil {
		return err
	}
	origin, err := joblog.OriginOf(cfg)
	if err != nil {
		return err
	}
	for _, difference := range origin.Differences(&d.Origin) {
		s.say("parhost: not as it was: %s", difference)
	}
	pool, err := host.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	if d.Origin.Seed != nil {
		ctx = host.WithIndex(host.WithSeed(ctx, *d.Origin.Seed), func(int) int { return d.Index })
	}
	result, err := host.BindJSON[json.RawMessage, json.RawMessage](pool).Do(ctx, d.Item)
	failed, ok := errors.AsType[*host.ItemError](err)
	switch {
	case ok:
		sayFailure(s, failed, d)
		return &exitError{code: exitFailed, err: errSaid}
	case err != nil:
		return err
	}
	if _, err := fmt.Fprintf(s.out.data(), "%s\n", result.Value); err != nil {
		return &exitError{code: exitFailed, err: fmt.Errorf("write the result: %w", err)}
	}
	s.say("parhost: the item has a result now; it had failed: %s: %s", d.Kind, d.Message)
	return nil
}

// config returns the configuration of the run that wrote the dossier, with one worker and with the flags applied. signed says that the dossier has
// this user's signature.
func (o *replayOptions) config(ctx context.Context, s *streams, d *dossier.Dossier, signed bool) (host.Config, error) {
	cfg, err := o.findPlugin(ctx, d)
	if err == nil {
		err = o.pins.hold(&cfg)
	}
	if err == nil && cfg.Workload == nil && o.plugin == "" {
		err = asItWas(&cfg, &d.Origin)
		if err == nil && !signed {
			err = o.trust(d, cfg.Plugin)
		}
	}
	if err != nil {
		return cfg, err
	}
	cfg.Mode, cfg.Workers, cfg.Batch = host.Mode(o.mode), 1, 1
	cfg.MaxItemBytes, cfg.MaxResultBytes = min(d.Limits.MaxItemBytes, maxReplayed), min(d.Limits.MaxResultBytes, maxReplayed)
	was := d.Sandbox
	if was == nil {
		was = &sandbox.Policy{}
	}
	if cfg.Sandbox, err = o.confinement.over(ctx, s, was); err != nil {
		return cfg, err
	}
	switch cfg.Mode {
	case host.ModeProcess:
		cfg.ItemTimeout = time.Duration(d.Limits.ItemTimeoutSeconds * float64(time.Second))
		if cfg.ItemCPU = time.Duration(d.Limits.ItemCPUSeconds * float64(time.Second)); cfg.ItemCPU > 0 {
			cfg.Threads = 1
		}
	case host.ModeGoroutine:
		if cfg.Workload == nil {
			return cfg, usageError("leave --mode out, or debug the plugin's own process", "--mode goroutine runs a workload inside parhost itself, and %s is an executable", cfg.Plugin)
		}
		if !reflect.ValueOf(cfg.Sandbox).IsZero() {
			return cfg, usageError("leave --mode out; or run the item itself, without its dossier: parhost -p "+quote(cfg.Workload.Manifest().Name)+" --mode goroutine ITEM",
				"--mode goroutine runs the item inside parhost itself, which no sandbox and no limit can confine, and its run was confined, or is to be")
		}
	default:
		return cfg, usageError("write --mode process or --mode goroutine", "--mode %q is neither", o.mode)
	}
	if o.given {
		cfg.ItemTimeout = o.itemTimeout
	}
	cfg.Env, err = parseEnv(o.env)
	return cfg, err
}

// maxReplayed is the largest size of an item or a result, in bytes, that a dossier may allow.
const maxReplayed = 1 << 30

// findPlugin finds the plugin of --plugin or, without the flag, the plugin that the dossier names.
func (o *replayOptions) findPlugin(ctx context.Context, d *dossier.Dossier) (cfg host.Config, err error) {
	switch {
	case o.plugin != "":
		return pluginConfig(ctx, o.plugin, o.pluginDirs, o.building)
	case d.Origin.Workload == "":
		cfg.Plugin, err = host.Find(d.Origin.Plugin)
		cfg.PluginWorkload = d.Origin.PluginWorkload()
		return cfg, err
	}
	for _, w := range builtin {
		if w.Manifest().Name == d.Origin.Workload {
			return host.Config{Workload: w}, nil
		}
	}
	return cfg, usageError("name a plugin that has it with --plugin", "workload %q of the dossier is not linked into this program", d.Origin.Workload)
}

// asItWas restricts an executable that only the dossier names to the SHA-256 in the dossier. It returns an error if the executable's SHA-256 differs.
func asItWas(cfg *host.Config, was *joblog.Origin) error {
	hint := "name it, if you mean it: --plugin " + quote(cfg.Plugin)
	want := strings.ToLower(was.SHA256)
	if !sha256Form().MatchString(want) {
		return usageError(hint, "the dossier names the plugin %q without its SHA-256", cfg.Plugin)
	}
	got, err := sandbox.Checksum(cfg.Plugin)
	switch {
	case err != nil:
		return &exitError{code: exitNoWorker, err: fmt.Errorf("checksum of the plugin: %w", err)}
	case got != want:
		return usageError(hint, "the plugin %q is not the one of the dossier: it has the SHA-256 %s, and had %s", cfg.Plugin, got, want)
	case cfg.Checksum != "" && cfg.Checksum != want:
		return usageError(hint, "the plugin of the dossier has the SHA-256 %s, and --checksum or the lock file allows %s", want, cfg.Checksum)
	}
	cfg.Checksum = want // the executable may change between here and its start
	return nil
}

// trust refuses to run an executable without a sandbox if only an unsigned dossier names it. A process that can write both the dossier and the
// executable could make their checksums agree.
func (o *replayOptions) trust(d *dossier.Dossier, plugin string) error {
	if o.chosen || d.Sandbox != nil && d.Sandbox.Level > sandbox.Off {
		return nil
	}
	return usageError("add --sandbox auto, or strict; or, if you trust "+quote(plugin)+" and the item: --sandbox off",
		"the dossier names the plugin %q, to run without a sandbox, and is not as parhost wrote it for you here (it lacks your signature)", plugin)
}

// sayFailure prints everything known about a failure, and whether it equals the failure in the dossier.
func sayFailure(s *streams, e *host.ItemError, d *dossier.Dossier) {
	s.say("parhost: %s: %s", e.Kind, e.Message)
	if e.Stack != "" {
		s.say("its stack:\n%s", e.Stack)
	}
	switch {
	case e.Dump != "":
		s.say("what the process wrote:\n%s", e.Dump)
	case len(e.Stderr) > 0:
		s.say("the last lines of the process:\n%s", strings.Join(e.Stderr, "\n"))
	}
	if e.Kind == d.Kind && e.Message == d.Message {
		s.say("parhost: the item failed as before")
	} else {
		s.say("parhost: the item failed in another way; before it was: %s: %s", d.Kind, d.Message)
	}
}
