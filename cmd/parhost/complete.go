package main

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host"
)

// flagValues lists the allowed values of the flags that take one of a few values.
var flagValues = map[string][]string{
	"mode":       {string(host.ModeProcess), string(host.ModeGoroutine), string(host.ModeSequential)},
	"output":     {"table", "jsonl", "values", "none"},
	"sandbox":    {"off", "basic", "strict", "auto"},
	"progress":   {"auto", "live", "bar", "lines", "none"},
	"log-level":  {"trace", "debug", "info", "warn", "error", "off"},
	"log-format": {"text", "json"},
	"on-error":   {"continue", "stop"},
	"batch":      {"auto"},
}

// completeFlags registers shell completions for the flag values of a command and of all commands below it.
func completeFlags(cmd *cobra.Command, o *options) {
	for name, values := range flagValues {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // cannot fail: the flag exists
		}
	}
	if cmd.Flags().Lookup("plugin") != nil {
		_ = cmd.RegisterFlagCompletionFunc("plugin", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return pluginNames(o.pluginDirs), cobra.ShellCompDirectiveDefault // also complete file names, because a plugin may be a path
		})
	}
	for _, below := range cmd.Commands() {
		completeFlags(below, o)
	}
}

// pluginNames returns the names of all built-in and installed plugins, sorted.
func pluginNames(dirs []string) []string {
	names := map[string]bool{}
	for _, w := range builtin {
		names[w.Manifest().Name] = true
	}
	for name := range host.Installed(dirs...) {
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}
