//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Nothing in a folder, and nothing that its files name, may be executed before the built plugin has been compared with its checksum.
func TestToBuildAFolderExecutesNothingOfIt(t *testing.T) {
	for key, value := range goEnv() {
		t.Setenv(key, value)
	}
	for name, c := range map[string]struct {
		mod     string
		git     bool
		refused string // expected in the error; "" if the build must succeed
	}{
		"git":                     {mod: "go 1.25", git: true},
		"a newer Go that is fine": {mod: "go 1.25\ntoolchain go1.999.0"},
		"a newer Go that must be": {mod: "go 1.999.0", refused: "go >= 1.999.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			dir, other := t.TempDir(), t.TempDir()
			mark := filepath.Join(t.TempDir(), "mark")
			write := func(path, text string, mode os.FileMode) {
				t.Helper()
				if err := os.WriteFile(path, []byte(text), mode); err != nil {
					t.Fatal(err)
				}
			}
			// The promise must not depend on the machine's Go settings, so these are set to the dangerous values.
			t.Setenv("GOFLAGS", "-buildvcs=auto")
			t.Setenv("GOENV", filepath.Join(other, "env"))
			write(filepath.Join(other, "env"), "GOTOOLCHAIN=auto\n", 0o600)
			t.Setenv("GOTOOLCHAIN", "")
			if err := os.Unsetenv("GOTOOLCHAIN"); err != nil {
				t.Fatal(err)
			}
			// The go command looks in PATH for another version of itself before it downloads one.
			write(filepath.Join(other, "go1.999.0"), "#!/bin/sh\necho go1.999.0 >>'"+mark+"'\nexit 1\n", 0o700)
			t.Setenv("PATH", other+":"+os.Getenv("PATH"))
			write(filepath.Join(dir, "go.mod"), "module example.com/plugin\n\n"+c.mod+"\n", 0o600)
			write(filepath.Join(dir, "main.go"), "package main\n\nfunc main() {}\n", 0o600)
			if c.git {
				write(filepath.Join(dir, "monitor"), "#!/bin/sh\necho fsmonitor >>'"+mark+"'\nexit 1\n", 0o700)
				for _, args := range [][]string{{"init"}, {"add", "."}, {"config", "core.fsmonitor", filepath.Join(dir, "monitor")}} {
					out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput()
					if errors.Is(err, exec.ErrNotFound) {
						t.Skip("git is not there")
					}
					if err != nil {
						t.Fatalf("git %s: %v: %s", args, err, out)
					}
				}
			}
			_, err := building{}.build(t.Context(), dir)
			if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("got the error %v, want %q", err, c.refused)
			}
			if _, hint := exitCode(err); c.refused != "" && !strings.Contains(hint, "GOTOOLCHAIN=auto") {
				t.Errorf("got the hint %q, want what to set", hint)
			}
			if ran, err := os.ReadFile(mark); err == nil {
				t.Errorf("to build the folder executed %q", ran)
			}
		})
	}
}

func TestVerifyTakesTheLimitOfAResult(t *testing.T) {
	code, stdout, stderr := call(t, nil, "plugins", "verify", "sqrt", "2", "--max-result-bytes", "8")
	if code != exitFailed || !strings.Contains(stdout, "oversize") {
		t.Errorf("got exit code %d, stdout %q, stderr %q, want %d and that a result is too large", code, stdout, stderr, exitFailed)
	}
	code, _, stderr = call(t, nil, "plugins", "verify", "sqrt", "--max-result-bytes", "3GiB")
	if code != exitUsage || !strings.Contains(stderr, `--max-result-bytes "3GiB" is no such size`) {
		t.Errorf("got exit code %d and %q, want %d and the limit", code, stderr, exitUsage)
	}
}
