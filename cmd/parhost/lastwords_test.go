package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parhost/parhost/host/dossier"
)

// mortalPlugin builds the plugin that writes a reason and exits.
func mortalPlugin(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "parhost-plugin-mortal")
	if out, err := exec.Command("go", "build", "-o", path, "./testdata/mortal").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// Whichever way a plugin writes the reason for its exit, the reason must be in the item's error, its record and its dossier, at every log level.
func TestTheReasonOfADeathIsInTheItemsErrorHoweverItWasWritten(t *testing.T) {
	words := map[string]string{
		"log.Fatal":               "no model at item",
		"log.Fatalf, lines":       `no model:\nat\nitem`,
		"log.Print":               "no model at item",
		"log.Panic elsewhere":     "panic: no model at item",
		"log.Fatal elsewhere":     "no model at item",
		"log.Fatal after a flood": "no model at item",
		"own logger":              "mortal: 2???/??/?? ??:??:?? no model at item",
		"slog.Error":              "load: err=no model at item",
		"slog.ErrorContext":       "load: err=no model at item",
		"sdk.Logger":              "load: err=no model at item",
		"hclog":                   `2???-??-??T??:??:??.???Z [ERROR] load: err=\"no model at item\"`,
		"stderr":                  "no model at item",
		"stdout":                  "no model at item",
		"panic, lines":            `panic: no model\nSIGNED: at item`,
		"panic, many goroutines":  `panic: no model\nSIGNED: at item`,
	}
	plugin := mortalPlugin(t)
	var items []string
	for how := range words {
		items = append(items, `"`+how+`"`)
	}
	for _, flags := range [][]string{nil, {"--log-level", "off"}} {
		dir := filepath.Join(t.TempDir(), "dossiers")
		args := append([]string{"-p", plugin, "-o", "values", "--procs", "2", "--progress", "none", "--dossier", dir}, flags...)
		code, _, stderr := call(t, nil, append(append(args, "--"), items...)...)
		if code != exitFailed {
			t.Errorf("%q: got exit code %d, want %d: %s", flags, code, exitFailed, stderr)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) != len(items) {
			t.Fatalf("%q: got the dossiers %q, %v, want %d", flags, files, err, len(items))
		}
		for i, file := range files { // files are sorted by item index
			d, err := dossier.Read(file)
			if err != nil {
				t.Fatal(err)
			}
			var how string
			if err := json.Unmarshal(d.Item, &how); err != nil {
				t.Fatal(err)
			}
			want := words[how]
			if kept := strings.Join(d.Stderr, "\n"); !strings.Contains(kept, "no model") || !strings.Contains(kept, "item") {
				t.Errorf("%q: the dossier of %s: got %q, want the reason", flags, how, d.Stderr)
			}
			_, said, _ := strings.Cut(stderr, fmt.Sprintf("parhost: item %d: ", i))
			said, _, _ = strings.Cut(said, "\n")
			if _, got, _ := strings.Cut(said, `; stderr: "`); !likePattern(strings.TrimSuffix(got, `"`), want) {
				t.Errorf("%q: %s: got %q, want its last words %q", flags, how, said, want)
			}
		}
	}
}

// likePattern reports whether a text matches a pattern in which each question mark stands for any byte.
func likePattern(text, pattern string) bool {
	if len(text) != len(pattern) {
		return false
	}
	for i := range len(text) {
		if pattern[i] != '?' && pattern[i] != text[i] {
			return false
		}
	}
	return true
}

func TestTheReasonOfADeathBeforeTheFirstItemIsSaid(t *testing.T) {
	plugin := mortalPlugin(t)
	for _, place := range []string{"init", "main", "setup"} {
		code, _, stderr := call(t, nil, "-p", plugin, "--env", "MORTAL="+place, `"x"`)
		if code != exitNoWorker || !strings.Contains(stderr, "no model at "+place) {
			t.Errorf("a death in %s: got exit code %d and %q, want %d and the reason", place, code, stderr, exitNoWorker)
		}
	}
}

// Lines below the command's log level are not shown, even those of package log, if the plugin does not die.
func TestLinesBelowTheLogLevelAreNotShown(t *testing.T) {
	plugin := mortalPlugin(t)
	if code, stdout, stderr := call(t, nil, "-p", plugin, "--progress", "none", "-o", "values", `"log"`); code != exitOK || stdout != "\"log\"\n" || strings.Contains(stderr, "a line of") {
		t.Errorf("got exit code %d, %q and %q, want %d and no line of the log", code, stdout, stderr, exitOK)
	}
	_, _, stderr := call(t, nil, "-p", plugin, "--progress", "none", "--log-level", "info", "-o", "values", `"log"`)
	for _, line := range []string{"a line of log: worker=1", "a line of slog: worker=1", "a line of hclog: worker=1"} {
		if !strings.Contains(stderr, line) {
			t.Errorf("with --log-level info: got %q, want %q", stderr, line)
		}
	}
}
