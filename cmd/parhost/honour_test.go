package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands returns parhost and all commands below it, by path, except those that cobra adds.
func commands(t *testing.T) map[string]*cobra.Command {
	t.Helper()
	all := map[string]*cobra.Command{}
	var add func(cmd *cobra.Command)
	add = func(cmd *cobra.Command) {
		all[cmd.CommandPath()] = cmd
		for _, sub := range cmd.Commands() {
			add(sub)
		}
	}
	add(newRoot(newStreams(nil, nil, nil)))
	return all
}

// Each flag of each command needs an entry in effects.
func TestEachFlagOfEachCommandHasAnEffectOrIsRefused(t *testing.T) {
	all := commands(t)
	for path := range effects() {
		if all[path] == nil {
			t.Errorf("the effects are those of a command %q, which there is not", path)
		}
	}
	for path, cmd := range all {
		if cmd.PersistentPreRun != nil || cmd.PersistentPreRunE != nil && path != "parhost" {
			t.Errorf("%s takes the place of parhost's check of flags without an effect", path)
		}
		flags := map[string]bool{}
		add := func(f *pflag.Flag) {
			if f.Name != "help" && f.Name != "version" {
				flags[f.Name] = true
			}
		}
		cmd.LocalFlags().VisitAll(add)
		cmd.InheritedFlags().VisitAll(add)
		decided, known := effects()[path]
		if !known {
			t.Errorf("%s: nothing says which of its flags have an effect", path)
		}
		for name := range flags {
			if decided[name] == nil {
				t.Errorf("%s --%s: nothing says when it has an effect", path, name)
			}
		}
		for name := range decided {
			if !flags[name] {
				t.Errorf("%s --%s: there is no such flag", path, name)
			}
		}
	}
}

// flagText returns a valid value of a flag that is not its default.
func flagText(f *pflag.Flag) string {
	values := map[string]string{
		"mode": "goroutine", "progress": "lines", "on-error": "stop", "batch": "3", "sandbox": "basic", "output": "values", "log-format": "json", "log-level": "off",
	}
	switch value, listed := values[f.Name]; {
	case f.Value.Type() == "bool":
		return "--" + f.Name
	case listed:
		return "--" + f.Name + "=" + value
	case f.Value.Type() == "duration":
		return "--" + f.Name + "=7s"
	case f.Value.Type() == "string", f.Value.Type() == "stringArray":
		return "--" + f.Name + "=x"
	default:
		return "--" + f.Name + "=3"
	}
}

// --compare must refuse flags that have no effect with it, even if they are given with their default value.
func TestACompareRefusesFlagsWithoutAnEffect(t *testing.T) {
	refused := []string{
		"mode", "raw", "keep-lines", "with-item", "unordered", "on-error", "joblog", "resume", "resume-failed", "resume-anyway", "dossier", "progress", "verbose", "standby", "trace",
		"cluster", "tenant", "key", "tls-cert", "tls-key", "tls-ca", "job-id", "pool", "plugin-for",
	}
	var got []string
	commands(t)["parhost"].LocalFlags().VisitAll(func(f *pflag.Flag) {
		if slices.Contains([]string{"help", "version", "plugin", "compare", "cgo", "ui-keep", "ui-public"}, f.Name) {
			return
		}
		cmd := newRoot(newStreams(nil, nil, nil))
		if err := cmd.ParseFlags([]string{"--plugin=sqrt", "--compare", flagText(f)}); err != nil {
			t.Fatal(err)
		}
		if err := checkEffects(cmd, nil); err != nil {
			got = append(got, f.Name)
			if want := "--" + f.Name + " has no effect with --compare: "; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("--%s with --compare: got %v, want %q", f.Name, err, want)
			}
		}
	})
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(refused))) {
		t.Errorf("--compare refuses %q, want %q", got, refused)
	}
}

func TestARunOnAClusterRefusesFlagsWithoutAnEffect(t *testing.T) {
	for name, why := range notOnACluster() {
		root := newRoot(newStreams(nil, nil, nil))
		f := root.Flags().Lookup(name)
		if f == nil {
			t.Fatalf("there is no flag --%s", name)
		}
		args := []string{"--plugin=sqrt", "--cluster=nats://127.0.0.1:4222", flagText(f), "--joblog=x", "--ui=x"}
		if err := root.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		if err := checkEffects(root, nil); err == nil || !strings.Contains(err.Error(), " has no effect with --cluster: ") || why == "" {
			t.Errorf("%q: got %v, want a refusal", args, err)
		}
	}
}

func TestFlagsWithoutAnEffectAreRefusedWithTheReason(t *testing.T) {
	for line, want := range map[string]string{
		"-p sqrt --cgo 4":                                    "--cgo has no effect for sqrt: only a Go package folder is built",
		"-p ./x --plugin-dir . 4":                            "--plugin-dir has no effect for ./x: a path is not looked for",
		"-p sqrt --mode goroutine --env A=b 4":               "--env has no effect with --mode goroutine: no worker is a process",
		"-p sqrt --mode goroutine --standby 1 4":             "--standby has no effect with --mode goroutine: no worker is a process",
		"-p sqrt --compare --mode process 4":                 "--mode has no effect with --compare: it runs every mode",
		"-p sqrt --compare -v 4":                             "--verbose has no effect with --compare: ",
		"-p sqrt --compare --progress lines 4":               "--progress has no effect with --compare: ",
		"-p sqrt --progress none -v 4":                       "--verbose has no effect with --progress none: ",
		"-p sqrt --sandbox basic --tmp-size 1MiB 4":          "--tmp-size has no effect with --sandbox basic: ",
		"-p sqrt --mode goroutine --threads 2 4":             "--threads has no effect with --mode goroutine: ",
		"-p sqrt --mode sequential --start-timeout 1s 4":     "--start-timeout has no effect with --mode sequential: ",
		"-p sqrt --mode goroutine --worker-max-rss 1GiB 4":   "--worker-max-rss has no effect with --mode goroutine: ",
		"-p sqrt --mode goroutine --max-output-bytes 1GiB 4": "--max-output-bytes has no effect with --mode goroutine: ",
		"-p sqrt --mode sequential --procs 4 4":              "--procs has no effect with --mode sequential: ",
		"-p sqrt --mode sequential --min-procs 1 4":          "--min-procs has no effect with --mode sequential: ",
		"-p sqrt --mode sequential --window 3 4":             "--window has no effect with --mode sequential: ",
		"-p sqrt --joblog= 4":                                "--joblog has no effect with an empty value",
		"-p ./x --checksum= 4":                               "--checksum has no effect with an empty value",
		"-p sqrt --memory= 4":                                "--memory has no effect with an empty value",
		"-p sqrt --plugin-dir=x --plugin-dir= 4":             "--plugin-dir has no effect with an empty value",
		"plugins lock ./x --plugin-dir x":                    "--plugin-dir has no effect for ./x: a path is not looked for",
		"replay FILE --plugin-dir x":                         "--plugin-dir has no effect without --plugin: ",
		"replay FILE --cgo":                                  "--cgo has no effect without --plugin: ",
		"replay FILE --mode goroutine --env A=b":             "--env has no effect with --mode goroutine: ",
		"plugins --lock x":                                   "--lock has no effect here: ",
		"plugins verify sqrt --sandbox basic --tmp-size 9MB": "--tmp-size has no effect with --sandbox basic: ",
		"plugins verify sqrt --mode goroutine":               "unknown flag: --mode",
		"replay FILE --retries 3":                            "unknown flag: --retries",
		"--retries 3 replay FILE":                            "unknown flag: --retries",
		"--procs 3 doctor":                                   "unknown flag: --procs",
	} {
		code, stdout, stderr := call(t, nil, strings.Fields(line)...)
		if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "parhost: error: "+want) {
			t.Errorf("parhost %s: got exit code %d, %q and %q, want %d and %q", line, code, stdout, stderr, exitUsage, want)
		}
	}
}

// A command must refuse flags that it does not have, wherever they stand on the command line.
func TestNoCommandTakesFlagsThatAreNotItsOwn(t *testing.T) {
	all := commands(t)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if path == "parhost" {
			continue
		}
		all["parhost"].LocalFlags().VisitAll(func(f *pflag.Flag) {
			if effects()[path][f.Name] != nil || f.Name == "help" || f.Name == "version" {
				return
			}
			words := strings.Fields(strings.TrimPrefix(path, "parhost "))
			for _, args := range [][]string{append([]string{flagText(f)}, words...), append(slices.Clone(words), flagText(f))} {
				if code, _, stderr := call(t, nil, args...); code != exitUsage || !strings.Contains(stderr, "unknown flag: --"+f.Name) {
					t.Errorf("parhost %q: got exit code %d and %q, want %d and an unknown flag", args, code, stderr, exitUsage)
				}
			}
		})
	}
}

func TestACompareWithoutOutputPrintsNoTable(t *testing.T) {
	if code, stdout, stderr := call(t, nil, "-p", "sqrt", "--compare", "--procs", "1", "-o", "none", "4"); code != exitOK || stdout != "" {
		t.Errorf("got exit code %d, %q and %q, want %d and nothing on stdout", code, stdout, stderr, exitOK)
	}
}
