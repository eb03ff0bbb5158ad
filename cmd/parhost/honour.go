package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// given holds the flags of a command, and the plugins named by --plugin or as arguments.
type given struct {
	*pflag.FlagSet
	plugins []string
}

// effect returns why a flag has no effect in combination with the other flags, as in "with --compare: it runs every mode". It returns "" if the flag
// has an effect.
type effect func(f given) string

// always says that a flag always has an effect, or that other code refuses it when it has none.
func always(given) string { return "" }

// notCompared says that a flag has no effect with --compare, and why.
func notCompared(reason string) effect {
	return func(f given) string {
		if isSet(f, "compare") {
			return "with --compare: " + reason
		}
		return ""
	}
}

// onlyWith says that a flag has an effect only together with another flag, and why.
func onlyWith(other, reason string) effect {
	return func(f given) string {
		if !isSet(f, other) {
			return "without --" + other + ": " + reason
		}
		return ""
	}
}

// notBeside says that a flag has no effect if another flag has a certain value, and why.
func notBeside(other, value, reason string) effect {
	return func(f given) string {
		if f.Lookup(other).Value.String() == value {
			return "with --" + other + " " + value + ": " + reason
		}
		return ""
	}
}

// ofProcesses says that a flag applies only to worker processes.
var ofProcesses = all(
	notBeside("mode", "goroutine", "no worker is a process"),
	notBeside("mode", "sequential", "no worker is a process"),
)

// ofWorkers says that a flag needs several workers.
var ofWorkers = notBeside("mode", "sequential", "it has one worker, which runs one item after the other")

// ofFolders says that a flag is used only to build a Go package folder.
func ofFolders(f given) string {
	for _, name := range f.plugins {
		plugin, _ := cutWorkload(name)
		if info, err := os.Stat(plugin); err == nil && info.IsDir() && isPath(plugin) {
			return ""
		}
	}
	if len(f.plugins) == 0 {
		return "here: no Go package folder is named"
	}
	return "for " + strings.Join(f.plugins, ", ") + ": only a Go package folder is built"
}

// ofNames says that a flag is used only to look up plugins by name.
func ofNames(f given) string {
	for _, name := range f.plugins {
		if plugin, _ := cutWorkload(name); !isPath(plugin) {
			return ""
		}
	}
	if len(f.plugins) == 0 {
		return ""
	}
	return "for " + strings.Join(f.plugins, ", ") + ": a path is not looked for"
}

// notOne is like e, except that the value 1 always has an effect.
func notOne(name string, e effect) effect {
	return func(f given) string {
		if !isSet(f, name) || f.Lookup(name).Value.String() == "1" {
			return ""
		}
		return e(f)
	}
}

// all combines effects: the flag has an effect only if every one of them says so.
func all(effects ...effect) effect {
	return func(f given) string {
		for _, e := range effects {
			if why := e(f); why != "" {
				return why
			}
		}
		return ""
	}
}

// isSet reports whether a flag was given with a value other than its default.
func isSet(f given, name string) bool {
	flag := f.Lookup(name)
	return flag.Changed && flag.Value.String() != flag.DefValue
}

const (
	aTable     = "it prints a table of all modes"
	noDossier  = "the plugin of the dossier is not looked up there"
	notStarted = "the plugin of the dossier is not built"
	inItself   = "the item runs inside parhost itself"
	eachAnew   = "--compare runs the items anew in each mode"
)

// effects maps each flag of each command to its effect. A flag that is given without effect is refused. The map is made when it is first needed.
var effects = sync.OnceValue(func() map[string]map[string]effect {
	return map[string]map[string]effect{
		"parhost report": {"output": always, "max-result-bytes": always},
		"parhost": {
			"mode": notCompared("it runs every mode"), "compare": always,
			"raw": notCompared(aTable), "keep-lines": notCompared(aTable), "with-item": notCompared(aTable), "unordered": notCompared(aTable),
			"on-error": notCompared("it runs all items in each mode"),
			"joblog":   notCompared(eachAnew), "resume": notCompared(eachAnew), "resume-failed": notCompared(eachAnew), "resume-anyway": notCompared(eachAnew),
			"dossier":  notCompared("it shows that a failure is the same in each mode, and a dossier is of one run"),
			"progress": notCompared("it names the mode that runs, and shows no progress within"),
			"verbose": all(
				notCompared("it names the mode that runs, and shows no progress within"),
				notBeside("progress", "none", "it shows no progress"), notBeside("progress", "bar", "a bar has no lines"), notBeside("progress", "live", "a view has no lines"),
			),
			"plugin": always, "plugin-dir": ofNames, "procs": notOne("procs", ofWorkers), "threads": ofProcesses, "input": always, "range": always, "repeat": always, "seed": always,
			"output": always, "item-timeout": always, "item-cpu": ofProcesses, "run-deadline": always, "start-timeout": ofProcesses, "setup-timeout": always, "teardown-timeout": always,
			"retries": always, "memory-retries": always, "retry-always": always, "min-procs": ofWorkers,
			"standby":          all(notCompared("it shows what modes cost while nothing crashes"), ofProcesses),
			"worker-max-items": always, "worker-max-age": always, "worker-max-idle": always, "worker-max-rss": ofProcesses,
			"max-item-bytes": always, "max-result-bytes": always, "max-output-bytes": ofProcesses, "batch": always, "window": ofProcesses, "env": ofProcesses,
			"sandbox": always, "memory": always, "cpus": always, "pids": always, "tmp-size": always, "file-size": always, "open-files": always,
			"ro": always, "rw": always, "allow-net": always, "allow-fork": always, "checksum": always, "lock": always, "cgo": ofFolders,
			"trace": notCompared("a trace is of one run"),
			"ui":    always, "ui-keep": onlyWith("ui", "there is no page to keep"), "ui-public": onlyWith("ui", "there is no page"),
			"report": always, "log-level": always, "log-format": always,
			"cluster": notCompared(onThisMachine), "tenant": ofCluster, "key": ofCluster, "tls-cert": ofCluster, "tls-key": ofCluster, "tls-ca": ofCluster,
			"job-id": ofCluster, "pool": ofCluster, "plugin-for": ofCluster,
		},
		"parhost replay": {
			"plugin": always, "plugin-dir": all(onlyWith("plugin", noDossier), ofNames), "cgo": all(onlyWith("plugin", notStarted), ofFolders),
			"mode": always, "item-timeout": always, "env": notBeside("mode", "goroutine", inItself),
			"sandbox": always, "memory": always, "cpus": always, "pids": always, "tmp-size": always, "file-size": always, "open-files": always,
			"ro": always, "rw": always, "allow-net": always, "allow-fork": always, "checksum": always, "lock": always,
		},
		"parhost plugins":          {"plugin-dir": neverAlone, "lock": neverAlone},
		"parhost plugins list":     {"plugin-dir": always, "lock": always, "json": always, "sandbox": always},
		"parhost plugins describe": {"plugin-dir": ofNames, "lock": always, "json": always, "sandbox": always, "checksum": always, "cgo": ofFolders},
		"parhost plugins lock":     {"plugin-dir": ofNames, "lock": always, "sandbox": always, "cgo": ofFolders},
		"parhost plugins verify": {
			"plugin-dir": ofNames, "lock": always, "json": always, "env": always, "max-result-bytes": always,
			"sandbox": always, "memory": always, "cpus": always, "pids": always, "tmp-size": always, "file-size": always, "open-files": always,
			"ro": always, "rw": always, "allow-net": always, "allow-fork": always, "checksum": always, "cgo": ofFolders,
		},
		"parhost new":     {"dir": always, "module": always, "replace": always},
		"parhost doctor":  {"plugin-dir": always, "json": always},
		"parhost version": {"json": always},
		"parhost serve": {
			"listen": always, "store": always, "name": always, "peers": always, "peer-listen": always, "peer-secret": always, "tls-cert": always, "tls-key": always, "tls-ca": always,
			"users": always, "insecure": always, "ui": always, "metrics": always, "ui-public": always, "log-level": always, "log-format": always,
		},
		"parhost keys": {"users": always, "tenant": always},
		"parhost worker": alsoReach(map[string]effect{
			"pool": always, "procs": always, "name": always, "allow": always, "allow-lock": always, "allow-env": always, "grace": always,
			"sandbox": always, "memory": always, "cpus": always, "pids": always, "tmp-size": always, "file-size": always, "open-files": always,
			"ro": always, "rw": always, "allow-net": always, "allow-fork": always, "log-level": always, "log-format": always,
		}),
		"parhost jobs":        {},
		"parhost jobs list":   alsoReach(map[string]effect{"json": always}),
		"parhost jobs attach": alsoReach(map[string]effect{"raw": always}),
		"parhost jobs cancel": alsoReach(map[string]effect{}),
		"parhost nodes":       alsoReach(map[string]effect{"json": always}),
		"parhost queue":       alsoReach(map[string]effect{"json": always, "pool": always}),
		"parhost explain":     alsoReach(map[string]effect{"json": always}),
		"parhost man":         {},
	}
})

// alsoReach adds the flags that say how to reach a cluster.
func alsoReach(of map[string]effect) map[string]effect {
	for _, name := range []string{"cluster", "tenant", "key", "tls-cert", "tls-key", "tls-ca"} {
		of[name] = always
	}
	return of
}

// neverAlone is the effect of a flag of a command that only shows its help: it never has one.
func neverAlone(given) string {
	return "here: it goes with one of the commands list, describe, verify and lock"
}

// checkEffects returns an error for a flag of the command that was given but has no effect.
func checkEffects(cmd *cobra.Command, args []string) (err error) {
	flags := given{FlagSet: cmd.Flags()}
	switch name := flags.Lookup("plugin"); {
	case name != nil && name.Changed:
		flags.plugins = []string{name.Value.String()}
	case cmd.CommandPath() == "parhost plugins lock":
		flags.plugins = args
	case strings.HasPrefix(cmd.CommandPath(), "parhost plugins ") && len(args) > 0:
		flags.plugins = args[:1]
	}
	flags.Visit(func(f *pflag.Flag) {
		of := effects()[cmd.CommandPath()][f.Name]
		if of == nil || err != nil {
			return
		}
		if f.Value.Type() == "bool" && !isSet(flags, f.Name) { // for example --raw=false
			return
		}
		if isEmpty(f) {
			err = usageError("give it a value, or leave it out", "--%s has no effect with an empty value", f.Name)
			return
		}
		why := of(flags)
		if off := notOnACluster()[f.Name]; off != "" && cmd.CommandPath() == "parhost" && isSet(flags, "cluster") && isSet(flags, f.Name) {
			why = "with --cluster: " + off
		}
		if why != "" {
			relation, _, _ := strings.Cut(why, ":")
			hint := "leave --" + f.Name + " out"
			if strings.HasPrefix(relation, "with ") {
				hint = "leave one of them out"
			}
			err = usageError(hint, "--%s has no effect %s", f.Name, why)
		}
	})
	return err
}

// once is the value of a flag that may be given only once. Otherwise the last value would silently win: --sandbox strict --sandbox off would run
// without a sandbox.
type once struct {
	pflag.Value
	flag *pflag.Flag
}

// Set is part of [pflag.Value].
func (o *once) Set(text string) error {
	if o.flag.Changed {
		return &repeatedError{o.String()}
	}
	return o.Value.Set(text)
}

// repeatedError says that a flag was given a second time.
type repeatedError struct{ before string }

func (e *repeatedError) Error() string { return fmt.Sprintf("it was given already, as %q", e.before) }

// takeOnce makes the flags of a command and of all commands below it refuse a second value, except for flags that collect several values.
func takeOnce(cmd *cobra.Command) {
	each := func(f *pflag.Flag) {
		_, gathers := f.Value.(pflag.SliceValue)
		_, wrapped := f.Value.(*once)
		if !gathers && !wrapped && f.Value.Type() != "count" {
			f.Value = &once{f.Value, f}
		}
	}
	cmd.Flags().VisitAll(each)
	cmd.PersistentFlags().VisitAll(each)
	for _, sub := range cmd.Commands() {
		takeOnce(sub)
	}
}

// isEmpty reports whether a flag has an empty text as its value, or as one of its values. A script produces this with a variable that it forgot to
// set, and a run without --checksum or --joblog would then look as if it had them.
func isEmpty(f *pflag.Flag) bool {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return slices.Contains(list.GetSlice(), "")
	}
	return f.Value.Type() == "string" && f.Value.String() == ""
}

// flagError turns an error of the flag parser into a usage error that says what the flag takes.
func flagError(cmd *cobra.Command, err error) error {
	help := cmd.CommandPath() + " --help lists the flags"
	value, ok := errors.AsType[*pflag.InvalidValueError](err)
	if repeated, twice := errors.AsType[*repeatedError](err); ok && twice {
		return usageError("leave one of them out", "--%s %q: %v", value.GetFlag().Name, value.GetValue(), repeated)
	}
	if !ok {
		switch cmd.CommandPath() {
		case "parhost":
			help += "; items that begin with a minus come after --, as in: parhost --plugin sqrt -- -1"
		case "parhost plugins verify":
			help += "; items that begin with a minus come after --, as in: parhost plugins verify sqrt -- -1"
		}
		return usageError(help, "%v", err)
	}
	name := "--" + value.GetFlag().Name
	want, known := map[string]string{
		"int": fmt.Sprintf("a whole number up to %d", math.MaxInt), "uint64": fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)),
		"float64": "a number, such as 0.5", "duration": "a number with its unit, such as 500ms, 30s or 5m, up to 2562047h", "bool": "true, false or no value",
	}[value.GetFlag().Value.Type()]
	if !known {
		return usageError(help, "%s %q: %v", name, value.GetValue(), value.Unwrap())
	}
	return usageError(name+" takes "+want, "%s %q cannot be read", name, value.GetValue())
}
