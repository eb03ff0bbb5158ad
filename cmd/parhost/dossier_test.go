package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/joblog"
)

// buildFaulty builds the plugin whose items say how it is to fail.
func buildFaulty(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "parhost-plugin-faulty")
	if out, err := exec.Command("go", "build", "-o", path, "./testdata/faulty").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestEachFailureHasADossierThatRunsItAgain(t *testing.T) {
	plugin, dir := buildFaulty(t), filepath.Join(t.TempDir(), "dossiers")
	items := []string{`"ok"`, `"fail"`, `"panic"`, `"exit"`, `"spin"`, `5`, `"ok"`}
	args := append([]string{"-p", plugin, "-o", "none", "--procs", "2", "--item-timeout", "100ms", "--log-level", "off", "--dossier", dir, "--"}, items...)
	code, _, stderr := call(t, nil, args...)
	if code != exitFailed || !strings.Contains(stderr, `5 dossiers are in "`+dir+`"`) {
		t.Errorf("got exit code %d and %q, want %d and where the dossiers are", code, stderr, exitFailed)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 5 {
		t.Fatalf("got the files %q, %v, want 5", files, err)
	}
	for i, want := range map[int]struct {
		kind host.Kind
		has  func(d *joblog.Dossier) bool
		says string // when it is run again
	}{
		1: {host.Failed, func(d *joblog.Dossier) bool { return d.Rusage == nil && d.ExitCode == nil }, "parhost: failed: as it was told"},
		2: {host.Panicked, func(d *joblog.Dossier) bool { return strings.Contains(strings.Join(d.Stack, "\n"), "main.run") }, "main.run("},
		3: {host.Crashed, func(d *joblog.Dossier) bool {
			return d.ExitCode != nil && *d.ExitCode == 7 && d.Stderr[0] == "these are the last words" && d.Rusage != nil
		}, "these are the last words"},
		4: {host.Timeout, func(d *joblog.Dossier) bool {
			return d.Limits.ItemTimeoutSeconds == 0.1 && strings.Contains(strings.Join(d.Goroutines, "\n"), "main.run")
		}, "main.run("},
		5: {host.BadItem, func(d *joblog.Dossier) bool { return string(d.Item) == "5" }, "parhost: bad_item: "},
	} {
		path := files[i-1] // sorted by index
		d, err := joblog.ReadDossier(path)
		if err != nil {
			t.Fatal(err)
		}
		if d.Index != i || string(d.Item) != items[i] || d.Kind != want.kind || d.Origin.Plugin != plugin || len(d.Origin.SHA256) != 64 || !want.has(d) {
			t.Errorf("item %s: got %+v", items[i], d)
		}
		code, stdout, stderr := call(t, nil, "replay", path)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, want.says) || !strings.Contains(stderr, "failed as before") {
			t.Errorf("replay of %s: got exit code %d, %q and %q, want %d and %q", items[i], code, stdout, stderr, exitFailed, want.says)
		}
	}
}

func TestReplayOfWhatHasBeenMended(t *testing.T) {
	plugin := buildFaulty(t)
	dir := t.TempDir()
	t.Chdir(dir)
	if code, _, stderr := call(t, nil, "-p", plugin, "-o", "none", "--log-level", "off", "--dossier", "d", `"unmended"`); code != exitFailed {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	files, err := filepath.Glob("d/*")
	if err != nil || len(files) != 1 {
		t.Fatalf("got the files %q, %v, want one", files, err)
	}
	if err := os.WriteFile("mended", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t, nil, "replay", files[0])
	if code != exitOK || stdout != "\"unmended\"\n" || !strings.Contains(stderr, "it had failed: crashed: process ended with exit code 3") {
		t.Errorf("got exit code %d, %q and %q, want %d and the result", code, stdout, stderr, exitOK)
	}
	code, _, stderr = call(t, nil, "replay", "--plugin", "sqrt", files[0])
	if code != exitFailed || !strings.Contains(stderr, `not as it was: the workload was "" and is "sqrt"`) || !strings.Contains(stderr, "failed in another way") {
		t.Errorf("with another plugin: got exit code %d and %q, want %d and what differs", code, stderr, exitFailed)
	}
}

func TestResumedFailuresKeepTheirDossiers(t *testing.T) {
	dir := t.TempDir()
	args := []string{"-p", "sqrt", "-o", "none", "--joblog", filepath.Join(dir, "run.joblog"), "--dossier", filepath.Join(dir, "d"), "--resume", "--"}
	call(t, nil, append(args, "-1", "4")...)
	files, err := filepath.Glob(filepath.Join(dir, "d", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got the files %q, %v, want one", files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := call(t, nil, append(args, "-1", "4", "-2")...)
	if code != exitFailed || !strings.Contains(stderr, `1 dossiers are in `) {
		t.Errorf("got exit code %d and %q, want %d and one dossier", code, stderr, exitFailed)
	}
	files, err = filepath.Glob(filepath.Join(dir, "d", "*"))
	if err != nil || len(files) != 1 || !strings.HasPrefix(filepath.Base(files[0]), "item-000002-") {
		t.Errorf("got the files %q, %v, want that of item 2 alone: the other failure is of the run before", files, err)
	}
}
