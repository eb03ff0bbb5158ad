//go:build linux || darwin

package rlimit_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/parhost/parhost/host/sandbox/internal/rlimit"
)

// stage returns the command of a stage with limits that executes another command. The test binary is the stage, like every program that links the
// package.
func stage(t *testing.T, text string, command ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, command...)
	cmd.Env = []string{"OTHER=kept", rlimit.Variable + "=" + text}
	return cmd
}

func TestAStageSetsLimitsAndBecomesWhatItIsTold(t *testing.T) {
	spec := rlimit.Spec{Limits: []rlimit.Limit{{Resource: syscall.RLIMIT_CORE}, {Resource: syscall.RLIMIT_NOFILE, Value: 57}, {Resource: syscall.RLIMIT_FSIZE, Value: 1024}}}
	const script = `echo $(ulimit -Sn) $(ulimit -Hn) $(ulimit -c) $(ulimit -f) "$OTHER" "${` + rlimit.Variable + `-none}" $0 $$ "$@"`
	cmd := stage(t, spec.String(), "/bin/sh", "-c", script, "name", "a b", "")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("got the error %v\n%s", err, out)
	}
	if got, want := string(out), fmt.Sprintf("57 57 0 2 kept none name %d a b \n", cmd.Process.Pid); got != want { // ulimit -f counts blocks of 512 bytes
		t.Errorf("got %q, want %q", got, want)
	}
}

// A stage does not pass on other descriptors of the host, not even those that C code has opened without close-on-exec.
func TestAStagePassesOnItsOwnDescriptorsAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"kept", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var files []*os.File
	for _, name := range []string{"kept", "other"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	spec := rlimit.Spec{Keep: 1}
	cmd := stage(t, spec.String(), "/bin/sh", "-c", "cat <&3; (cat <&4) 2>/dev/null || echo ' alone'")
	cmd.ExtraFiles = files
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("got the error %v\n%s", err, out)
	}
	if got := string(out); got != "kept alone\n" {
		t.Errorf("got %q, want what the kept file says alone", got)
	}
}

func TestAStageThatFailsSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		command []string
		want    string
	}{
		"no spec":    {"x", []string{"/bin/echo"}, "invalid syntax"},
		"no command": {"0", nil, "want a command"},
		"no program": {"0", []string{"/nowhere/program"}, "execve /nowhere/program: no such file or directory"},
		"no limit":   {"0 4096=1", []string{"/bin/echo"}, "setrlimit 4096"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := stage(t, c.text, c.command...)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != 126 || !strings.Contains(string(out), c.want) {
				t.Errorf("got exit code %d and %q, want 126 and %q", code, out, c.want)
			}
		})
	}
}
