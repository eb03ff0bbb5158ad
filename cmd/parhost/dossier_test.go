package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dossier"
)

// buildFaulty builds the plugin whose items say how to fail.
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
	if code != exitFailed || !strings.Contains(stderr, `5 dossiers in "`+dir+`"`) {
		t.Errorf("got exit code %d and %q, want %d and where the dossiers are", code, stderr, exitFailed)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 5 {
		t.Fatalf("got the files %q, %v, want 5", files, err)
	}
	for i, want := range map[int]struct {
		kind host.Kind
		has  func(d *dossier.Dossier) bool
		says string // message of the replay
	}{
		1: {host.KindFailed, func(d *dossier.Dossier) bool { return d.Rusage == nil && d.ExitCode == nil }, "parhost: failed: as it was told"},
		2: {host.KindPanicked, func(d *dossier.Dossier) bool { return strings.Contains(strings.Join(d.Stack, "\n"), "main.run") }, "main.run("},
		3: {host.KindCrashed, func(d *dossier.Dossier) bool {
			return d.ExitCode != nil && *d.ExitCode == 7 && d.Stderr[0] == "these are the last words" && d.Rusage != nil
		}, "these are the last words"},
		4: {host.KindTimeout, func(d *dossier.Dossier) bool {
			return d.Limits.ItemTimeoutSeconds == 0.1 && strings.Contains(strings.Join(d.Goroutines, "\n"), "main.run")
		}, "main.run("},
		5: {host.KindBadItem, func(d *dossier.Dossier) bool { return string(d.Item) == "5" }, "parhost: bad_item: "},
	} {
		path := files[i-1] // files are sorted by item index
		d, err := dossier.Read(path)
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
	if code != exitFailed || !strings.Contains(stderr, `1 dossier in `) {
		t.Errorf("got exit code %d and %q, want %d and one dossier", code, stderr, exitFailed)
	}
	files, err = filepath.Glob(filepath.Join(dir, "d", "*"))
	if err != nil || len(files) != 1 || !strings.HasPrefix(filepath.Base(files[0]), "item-000002-") {
		t.Errorf("got the files %q, %v, want that of item 2 alone: the other failure is of the run before", files, err)
	}
}

// A process that can write a dossier and an executable can make both agree. A dossier that parhost wrote itself is replayed without extra flags; for
// any other, the user must state on the command line that no sandbox is wanted.
func TestAForgedDossierDoesNotSayThatNothingConfinesIt(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	plugin, dir := buildFaulty(t), t.TempDir()
	if code, _, stderr := call(t, nil, "-p", plugin, "-o", "none", "--log-level", "off", "--dossier", dir, `"fail"`); code != exitFailed {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got the files %q, %v, want one", files, err)
	}
	own, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	signature := regexp.MustCompile(`,\n  "signature": "[0-9a-f]{64}"`)
	if !signature.Match(own) {
		t.Fatalf("no signature in %s", own)
	}
	const refused = "it lacks your signature"
	for name, c := range map[string]struct {
		file    []byte
		args    []string
		refused bool
	}{
		"as it was written":       {own, nil, false},
		"without its signature":   {signature.ReplaceAll(own, nil), nil, true},
		"with another item":       {bytes.Replace(own, []byte(`"item": "fail"`), []byte(`"item": "exit"`), 1), nil, true},
		"with more behind":        {append(bytes.Clone(own), ' '), nil, true},
		"with an item again":      {bytes.Replace(own, []byte("\"\n}\n"), []byte("\",\n  \"item\": \"exit\"\n}\n"), 1), nil, true},
		"off by the command":      {signature.ReplaceAll(own, nil), []string{"--sandbox", "off"}, false},
		"named by the command":    {signature.ReplaceAll(own, nil), []string{"--plugin", plugin}, false},
		"limits alone":            {bytes.Replace(own, []byte(`"item"`), []byte(`"sandbox": {"level": "off", "pids": 99}, "item"`), 1), nil, true},
		"confined by the dossier": {bytes.Replace(own, []byte(`"item"`), []byte(`"sandbox": {"level": "basic"}, "item"`), 1), nil, false},
	} {
		path := filepath.Join(t.TempDir(), "dossier")
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := call(t, nil, append([]string{"replay", path}, c.args...)...)
		if strings.Contains(stderr, refused) != c.refused || c.refused && (code != exitUsage || strings.Contains(stderr, "failed")) {
			t.Errorf("%s: got exit code %d and %s, want it refused: %v", name, code, stderr, c.refused)
		}
	}
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	if code, _, stderr := call(t, nil, "replay", files[0]); code != exitUsage || !strings.Contains(stderr, refused) {
		t.Errorf("of another user: got exit code %d and %s, want it refused", code, stderr)
	}
}

func TestAKeyIsMadeOnce(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	var makers sync.WaitGroup
	keys := make([][]byte, 20)
	for i := range keys {
		makers.Go(func() {
			var err error
			if keys[i], err = makeKey(); err != nil {
				t.Error(err)
			}
		})
	}
	makers.Wait()
	for _, key := range keys {
		if len(key) != keyBytes || !bytes.Equal(key, readKey()) {
			t.Errorf("got the key %x, want %x", key, readKey())
		}
	}
	if info, err := os.Stat(keyPath()); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("got %v and %v, want a file for its user alone", info, err)
	}
}
