package main

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host"
)

// flagValues are the values of flags that take one of a few.
var flagValues = map[string][]string{
	"mode":       {string(host.Process), string(host.Goroutine), string(host.Sequential)},
	"output":     {"table", "jsonl", "values", "none"},
	"sandbox":    {"off", "basic", "strict", "auto"},
	"progress":   {"auto", "bar", "lines", "none"},
	"log-level":  {"trace", "debug", "info", "warn", "error", "off"},
	"log-format": {"text", "json"},
	"on-error":   {"continue", "stop"},
	"batch":      {"auto"},
}

// completeFlags lets a shell complete the values of flags, of a command and all below it.
func completeFlags(cmd *cobra.Command, o *options) {
	for name, values := range flagValues {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
		}
	}
	if cmd.Flags().Lookup("plugin") != nil {
		_ = cmd.RegisterFlagCompletionFunc("plugin", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return pluginNames(o.pluginDirs), cobra.ShellCompDirectiveDefault // or a path
		})
	}
	for _, below := range cmd.Commands() {
		completeFlags(below, o)
	}
}

// pluginNames returns the names of all plugins, sorted.
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
