package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dossier"
	"github.com/parhost/parhost/host/sandbox"
)

func TestAConfinedRunIsLikeAnyOther(t *testing.T) {
	cmd := command(t, "-p", "sqrt", "--procs", "2", "-o", "values", "--sandbox", "auto", "--range", "0:1000")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("got %v; stderr: %s", err, &stderr)
	}
	if n := strings.Count(stdout.String(), "\n"); n != 1000 || !strings.HasPrefix(stdout.String(), "0\n1\n1.4142135623730951\n") {
		t.Errorf("got %d lines that begin with %.40q, want the roots of 0 to 999", n, stdout.String())
	}
	if runtime.GOOS == "linux" && !strings.Contains(stderr.String(), "in sandbox ") {
		t.Skipf("no sandbox here: %s", &stderr)
	}
}

// If the requested sandbox cannot be set up, the command ends before anything runs.
func TestASandboxThatCannotBeGivenIsExitCode4(t *testing.T) {
	script := filepath.Join(t.TempDir(), "parhost-plugin-script") // strict cannot run it without its interpreter; other systems have no strict
	if err := os.WriteFile(script, []byte("#!/bin/cat\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "-p", script, "--sandbox", "strict", "1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if code := runFor(cmd); code != exitNoSandbox {
		t.Errorf("got exit code %d, want %d; stderr: %s", code, exitNoSandbox, &stderr)
	}
}

// If a plugin is not an executable program, that is the plugin's fault and not the sandbox's. This holds with and without limits and sandbox.
func TestWhatIsNoProgramIsExitCode3(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no bit that says what can be executed")
	}
	rubbish := filepath.Join(t.TempDir(), "parhost-plugin-rubbish")
	if err := os.WriteFile(rubbish, []byte("\x7fELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{nil, {"--memory", "256MiB"}, {"--sandbox", "auto"}} {
		cmd := command(t, append(flags, "-p", rubbish, "1")...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if code := runFor(cmd); code != exitNoWorker || !strings.Contains(stderr.String(), "exec format error") {
			t.Errorf("%v: got exit code %d, want %d for its format; stderr: %s", flags, code, exitNoWorker, &stderr)
		}
	}
}

func runFor(cmd *exec.Cmd) int {
	_ = cmd.Run() // the exit code is checked below
	return cmd.ProcessState.ExitCode()
}

// record is one line of --output jsonl.
type record struct {
	Index   int
	Value   any
	Sandbox *string
	Layers  []string
	Error   *struct {
		Kind     host.Kind
		Cause    host.Cause
		ExitCode int `json:"exit_code"`
	}
}

// wall is a layer that every sandbox has on this system.
var wall = map[string]string{"linux": "seccomp", "darwin": "seatbelt"}[runtime.GOOS]

// Each record names the sandbox level, and the record of a failure also the layers and the cause. So does the dossier, and replay runs its item in
// the same sandbox.
func TestRecordsSayWhatStandsAroundTheirWorkers(t *testing.T) {
	plugin := buildFaulty(t)
	if err := os.Chmod(filepath.Dir(plugin), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, level := range []string{"off", "basic", "strict"} {
		t.Run(level, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dossiers")
			args := []string{"-p", plugin, "-o", "jsonl", "--procs", "2", "--item-timeout", "200ms", "--log-level", "off", "--dossier", dir}
			if level != "off" {
				args = append(args, "--sandbox", level)
			}
			code, stdout, stderr := call(t, nil, append(args, "--", `"ok"`, `"fail"`, `"exit"`, `"spin"`, `"peek"`)...)
			if code == exitNoSandbox {
				t.Skipf("%v: %s", sandbox.ErrNotSupported, stderr)
			}
			causes := map[int]host.Cause{2: host.CauseExit, 3: host.CauseTimeout}
			if level != "off" {
				causes[4] = host.CauseExit
			}
			n := 0
			for line := range strings.Lines(stdout) {
				var r record
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				switch {
				case level == "off" && (r.Sandbox != nil || r.Layers != nil):
					t.Errorf("got %s, want nothing said of walls", line)
				case level != "off" && (r.Sandbox == nil || *r.Sandbox != level):
					t.Errorf("got %s, want the level %s", line, level)
				case level != "off" && (r.Error != nil) != slices.Contains(r.Layers, wall):
					t.Errorf("got %s, want the layers if it failed", line)
				case r.Error == nil && causes[r.Index] != "", r.Error != nil && r.Error.Cause != causes[r.Index]:
					t.Errorf("got %s, want the cause %q", line, causes[r.Index])
				}
				n++
			}
			if n != 5 {
				t.Errorf("got %d records, want 5; stderr: %s", n, stderr)
			}
			if level != "off" {
				checkConfinedDossier(t, dir, level)
			}
		})
	}
}

func checkConfinedDossier(t *testing.T, dir, level string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "item-000004-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got the files %q, %v, want one", files, err)
	}
	d, err := dossier.Read(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if d.Sandbox == nil || d.Sandbox.Level.String() != level || !slices.Contains(d.Layers, wall) || d.Cause != host.CauseExit {
		t.Errorf("got the dossier %+v, want the policy, the layers and the cause", d)
	}
	replay := func(what string, args ...string) {
		t.Helper()
		code, _, stderr := call(t, nil, append([]string{"replay", files[0]}, args...)...)
		if code != exitFailed || !strings.Contains(stderr, "failed as before") {
			t.Errorf("%s: got exit code %d and %q, want it to fail as before, in a sandbox", what, code, stderr)
		}
	}
	replay("replay")
	replay("replay with less sandbox", "--sandbox", "off")
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"level":`), []byte(`"read_write": [{"source": "/etc"}], "level":`), 1)
	if err := os.WriteFile(files[0], text, 0o600); err != nil || !bytes.Contains(text, []byte("read_write")) {
		t.Fatal(err)
	}
	replay("replay of a dossier that opens more")
}

// To compare a sandbox with none, --compare must run without one. The user may have wanted the sandbox for a reason, so the command warns.
func TestCompareSaysThatItRunsAPluginWithoutASandbox(t *testing.T) {
	plugin := filepath.Join(t.TempDir(), "parhost-plugin-script")
	if err := os.WriteFile(plugin, []byte("#!/bin/cat\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want bool
	}{
		"an executable":                    {[]string{"-p", plugin, "--sandbox", "basic"}, true},
		"an executable, without a sandbox": {[]string{"-p", plugin, "--memory", "256MiB"}, false},
		"what is linked in":                {[]string{"-p", "sqrt", "--sandbox", "basic"}, false},
	} {
		_, _, stderr := call(t, nil, append(c.args, "--compare", "--procs", "1", "1")...)
		if got := strings.HasPrefix(stderr, "parhost: warning: --compare runs "+plugin+" without a sandbox too"); got != c.want {
			t.Errorf("%s: got %q, want the warning: %v", name, stderr, c.want)
		}
	}
}
