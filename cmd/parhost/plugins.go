package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

// newPlugins returns the plugins command, whose sub-commands inspect plugins without running a user's items.
func newPlugins(s *streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "plugins",
		Short:   "list, describe, verify and lock plugins",
		Example: "  parhost plugins list",
		Args:    cobra.ArbitraryArgs,
		RunE:    groupOnly("parhost plugins list"),
	}
	var dirs []string
	cmd.PersistentFlags().StringArrayVar(&dirs, "plugin-dir", nil, "`folder` with parhost-plugin-NAME executables (may be repeated; also PARHOST_PLUGIN_PATH)")
	p := &pins{}
	p.lockFlag(cmd.PersistentFlags())
	cmd.AddCommand(newPluginsList(s, &dirs, p), newPluginsDescribe(s, &dirs, p), newPluginsVerify(s, &dirs, p), newPluginsLock(s, &dirs, p))
	return withExitCodes(cmd, "  0  done    2  wrong usage\n")
}

func newPluginsList(s *streams, dirs *[]string, p *pins) *cobra.Command {
	var asJSON bool
	var a asking
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the plugins that --plugin finds by name",
		Long: `List the plugins that --plugin finds by name: those linked into parhost, and the executables parhost-plugin-NAME in --plugin-dir,
in the folders of PARHOST_PLUGIN_PATH, beside the parhost program and in the user's data folder. An executable wins over a
plugin of the same name that is linked in. Each executable is started once, in a sandbox where there is one, and asked what it is, unless a
lock file forbids it.`,
		Example: "  parhost plugins list\n  parhost plugins list --plugin-dir ./build --json",
		Args:    between(0, 0, "parhost plugins list"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd, s)
			defer stop()
			list, err := findPlugins(ctx, *dirs, p, &a)
			switch {
			case err != nil || ctx.Err() != nil:
				return whenInterrupted(ctx, cmp.Or(err, ctx.Err()))
			case asJSON:
				return printJSON(s, list)
			}
			w := newTable("name", "version", "where", "description")
			for _, p := range list {
				said := shorten(p.Description, 3*cellWidth)
				if p.Error != "" {
					said = "does not start: " + shorten(p.Error, 3*cellWidth)
				}
				w.row(p.Name, shorten(p.Version, cellWidth), p.where(), said)
			}
			err = s.out.printf("%s\n", w.layout())
			if slices.ContainsFunc(list, func(p *listed) bool { return p.confined }) {
				s.say("parhost: hint: plugins were started in a sandbox; --sandbox off starts them without, if you trust all of them")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "a JSON array for programs")
	a.flag(cmd.Flags())
	return withExitCodes(cmd, "  0  done    2  wrong usage\n")
}

// listed is one plugin in the output of the list command.
type listed struct {
	Name        string `json:"name"`
	Builtin     bool   `json:"builtin"`
	Path        string `json:"path,omitempty"` // of the executable
	Version     string `json:"version,omitempty"`
	Description string `json:"description,omitempty"`
	Error       string `json:"error,omitempty"` // why the plugin does not start
	confined    bool   // the plugin failed to start in a sandbox
}

func (p *listed) where() string {
	if p.Builtin {
		return "built in"
	}
	return p.Path
}

// maxAsked is how many plugins are asked at once. It exceeds the number of CPUs, because asking a plugin that does not answer is mostly waiting.
const maxAsked = 32

// largePlugin is the file size in bytes from which a plugin is asked alone. A sandbox keeps the whole file in memory, even if it is sparse on the
// disk.
const largePlugin = 64 << 20

// findPlugins returns all built-in and installed plugins, sorted by name.
func findPlugins(ctx context.Context, dirs []string, held *pins, a *asking) ([]*listed, error) {
	if _, err := a.policy(ctx); err != nil { // an error here would be the same for every plugin
		return nil, err
	}
	found := map[string]*listed{}
	for _, w := range builtin {
		m := w.Manifest()
		found[m.Name] = &listed{Name: m.Name, Builtin: true, Version: m.Version, Description: m.Description}
	}
	var asking sync.WaitGroup
	small, large := make(chan struct{}, maxAsked), make(chan struct{}, 1)
	for name, path := range host.Installed(dirs...) {
		p := &listed{Name: name, Path: path}
		found[name] = p
		asking.Go(func() {
			limiter := small
			if info, err := os.Stat(path); err == nil && info.Size() >= largePlugin {
				limiter = large
			}
			limiter <- struct{}{}
			defer func() { <-limiter }()
			cfg := host.Config{Plugin: path}
			var m protocol.Manifest
			err := held.hold(&cfg)
			if err == nil {
				m, err = a.ask(ctx, cfg)
			}
			if err != nil {
				p.Error = err.Error()
				_, p.confined = errors.AsType[*confinedError](err)
				return
			}
			p.Version, p.Description = m.Version, m.Description
		})
	}
	asking.Wait()
	return slices.SortedFunc(maps.Values(found), func(a, b *listed) int { return strings.Compare(a.Name, b.Name) }), nil
}

const pluginExitCodes = `  0  done                                 3  the plugin does not start
  2  wrong usage                          4  the sandbox cannot be given here, or not to this plugin
130  interrupted
`

func newPluginsDescribe(s *streams, dirs *[]string, p *pins) *cobra.Command {
	b := building{say: s.say}
	var asJSON bool
	var a asking
	cmd := &cobra.Command{
		Use:   "describe NAME|PATH",
		Short: "show what a plugin says of itself: manifest, examples, schemas",
		Long: `Show what a plugin says of itself: its manifest, example items, and the JSON Schemas of items and results. NAME|PATH is what
--plugin takes: a name, an executable, or a Go package folder. The plugin is started, in a sandbox where there is one, and asked; it gets no items.`,
		Example: "  parhost plugins describe sqrt\n  parhost plugins describe ./my-plugin --json",
		Args:    between(1, 1, "parhost plugins describe sqrt"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd, s)
			defer stop()
			cfg, err := pluginConfig(ctx, args[0], *dirs, b)
			if err == nil {
				err = p.hold(&cfg)
			}
			if err != nil {
				return whenInterrupted(ctx, err)
			}
			if cfg.Workload != nil && cmd.Flags().Changed("sandbox") {
				return usageError("leave --sandbox out", "--sandbox has no effect for %s: it is linked into parhost, and nothing is started", args[0])
			}
			m, err := a.ask(ctx, cfg)
			if err != nil {
				return whenInterrupted(ctx, err)
			}
			loaded, err := loadedWith(cfg)
			switch {
			case err != nil:
				return whenInterrupted(ctx, err)
			case asJSON:
				return printJSON(s, struct {
					protocol.Manifest
					Builtin bool     `json:"builtin"`
					Path    string   `json:"path,omitempty"`
					Loaded  []string `json:"loaded,omitempty"` // libraries that a sandbox opens to the plugin
				}{m, cfg.Workload != nil, cfg.Plugin, loaded})
			default:
				return printManifest(s.out, m, whereIs(cfg), loaded)
			}
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "the manifest for programs")
	a.flag(cmd.Flags())
	p.checksumFlag(cmd.Flags())
	b.flag(cmd.Flags())
	return withExitCodes(cmd, pluginExitCodes)
}

func whereIs(cfg host.Config) string {
	if cfg.Workload != nil {
		return "built in"
	}
	return cfg.Plugin
}

// loadedWith returns the names of the libraries that a sandbox opens to a plugin because its dynamic loader needs them.
func loadedWith(cfg host.Config) (names []string, err error) {
	path := cfg.Plugin
	if cfg.Workload != nil {
		if path, err = sandbox.Self(); err != nil {
			return nil, err
		}
	}
	names, err = sandbox.Loaded(path)
	for i := range names {
		names[i] = wire.Plain(bound.Text(names[i], cellWidth)) // the plugin's file has chosen the names, so they may contain anything
	}
	return names, err
}

// printManifest prints a manifest for people. loaded are the libraries that a sandbox opens to the plugin.
func printManifest(out *screen, m protocol.Manifest, where string, loaded []string) error {
	w := newTable()
	row := func(what, value string) {
		if value != "" {
			w.row(what, shorten(value, 3*cellWidth))
		}
	}
	row("name", m.Name)
	row("version", m.Version)
	row("description", m.Description)
	row("where", where)
	row("made with", m.SDK)
	row("travels as", m.ItemKind+" → "+m.ResultKind)
	row("may be retried", yesNo(m.Idempotent, "yes (Idempotent)", "no, unless --retry-always says so"))
	row("concurrent", yesNo(m.NotConcurrent, "no (NotConcurrent): one item at a time in one process", "yes"))
	row("prefers mode", string(m.Prefer))
	row("threads", fmt.Sprint(m.Threads))
	if m.ItemTime > 0 {
		row("time of an item", "about "+m.ItemTime.Round(time.Nanosecond).String())
	}
	for i, flag := range lacking(m.Needs, sandbox.Policy{Level: sandbox.Basic, MemoryBytes: 1}) {
		w.row(yesNo(i == 0, "asks in a sandbox for", ""), flag) // not shortened, because a flag without its closing quote would be wrong
	}
	for i, name := range loaded {
		row(yesNo(i == 0, "a sandbox opens to it", ""), name)
	}
	for i, example := range examplesOf(m) {
		row(yesNo(i == 0, "examples", ""), string(example))
		if i == 9 && len(m.Examples) > 10 {
			row("", fmt.Sprintf("… %d more (--json shows all)", len(m.Examples)-10))
			break
		}
	}
	return out.printf("%s\n\nitem schema:\n%s\n\nresult schema:\n%s\n", w.layout(), indent(m.ItemSchema), indent(m.ResultSchema))
}

func yesNo(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// indent formats a schema for people.
func indent(schema json.RawMessage) layout {
	if len(schema) == 0 {
		return "  none"
	}
	return layout("  " + string(plainJSON(layOut(schema, "  "))))
}

func newPluginsVerify(s *streams, dirs *[]string, p *pins) *cobra.Command {
	b := building{say: s.say}
	var asJSON bool
	var c confinement
	var env []string
	var maxResult string
	cmd := &cobra.Command{
		Use:   "verify NAME|PATH [ITEM...]",
		Short: "check that a plugin keeps the promises of its manifest and of the protocol",
		Long: `Check that a plugin keeps the promises of its manifest and of the protocol. It runs the plugin's examples, and each ITEM (one
JSON value), many times in several worker processes: do not point it at a plugin whose examples must not run twice. An example has ten
minutes, or one if the plugin does not say that its items take longer; a schema half a minute and 1 GiB of memory, in a process of its own.

It is like any other run: without --sandbox the plugin can do what you can. What you did not write, verify with --sandbox auto or strict.

Package sdktest makes the same checks in a plugin's own tests.`,
		Example: "  parhost plugins verify ./my-plugin\n  parhost plugins verify ./theirs --sandbox strict\n  parhost plugins verify reduce '{\"values\":[1,2,3],\"op\":\"max\"}'",
		Args:    between(1, -1, "parhost plugins verify ./my-plugin"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var items []json.RawMessage
			for _, text := range args[1:] {
				if !wire.IsJSON([]byte(text)) {
					return usageError("an item is one JSON value, a string has quotes: '\"text\"'", "item %q is not JSON", text)
				}
				items = append(items, json.RawMessage(text))
			}
			most, err := messageSize("max-result-bytes", maxResult)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd, s)
			defer stop()
			policy, err := c.policyOrWarning(ctx, s)
			if err != nil {
				return whenInterrupted(ctx, err)
			}
			if err := keep(&policy, func() []held { return append(heldAlways(ctx, args[0], *dirs, p), heldStreams(s)...) }); err != nil {
				return err
			}
			cfg, err := pluginConfig(ctx, args[0], *dirs, b)
			if err == nil {
				err = p.hold(&cfg)
			}
			if err != nil {
				return whenInterrupted(ctx, err)
			}
			cfg.Sandbox, cfg.MaxResultBytes = policy, most
			if cfg.Env, err = parseEnv(env); err != nil {
				return err
			}
			v, err := host.Verify(ctx, cfg, items...)
			if err != nil {
				s.sayNeedsOf(err, cfg.Sandbox)
				return whenInterrupted(ctx, err)
			}
			if asJSON {
				err = printJSON(s, struct {
					*host.Verification
					OK bool `json:"ok"`
				}{v, v.Count(host.CheckFailed) == 0})
			} else {
				err = printVerification(s.out, v, whereIs(cfg))
			}
			if (err == nil || isPipeError(err)) && v.Count(host.CheckFailed) > 0 {
				err = &exitError{code: exitFailed, err: errSaid}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "the checks for programs")
	cmd.Flags().StringArrayVar(&env, "env", nil, "KEY=VALUE for the workers, or KEY to pass on the value of this environment (may be repeated)")
	cmd.Flags().StringVar(&maxResult, "max-result-bytes", "64MiB", "the most bytes of a result; the checks hold at most 192 MiB and a result more")
	c.flags(cmd.Flags())
	p.checksumFlag(cmd.Flags())
	b.flag(cmd.Flags())
	return withExitCodes(cmd, `  0  every promise is kept, or does not apply      3  the plugin does not start
  1  a promise is broken                           4  the sandbox cannot be given here
  2  wrong usage                                 130  interrupted
`)
}

// printVerification prints the checks for people. It shortens what was seen of a promise that is kept, and shows the whole promise of a check that
// failed.
func printVerification(out *screen, v *host.Verification, where string) error {
	w := newTable("check", "", "seen")
	w.wrap(out.columnWidth(1, 28), 3)
	kept, broken, skipped := 0, 0, 0
	for _, c := range v.Checks {
		seen := layout(shorten(c.Outcome, 3*cellWidth))
		switch c.Status {
		case "ok":
			kept++
		case "skipped":
			skipped++
		default:
			broken++
			seen = layout(c.Promise + ":\n" + shorten(c.Outcome, 10*cellWidth))
		}
		w.row(c.Name, c.Status, seen)
	}
	name := shorten(strings.TrimSpace(v.Name+" "+v.Version), cellWidth)
	return out.printf("%s (%s)\n\n%s\n\n%d %s · %d ok · %d failed · %d skipped\n", name, where, w.layout(), len(v.Checks), wire.Things(len(v.Checks), "check"), kept, broken, skipped)
}
