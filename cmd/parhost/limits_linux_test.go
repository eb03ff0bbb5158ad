package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox"
)

// limited returns a circumstance in which each resource has a hard limit. Programs that the process executes inherit the limits.
func limited(resources map[int]uint64) func() error {
	return func() error {
		var failed error
		for resource, most := range resources {
			failed = errors.Join(failed, syscall.Setrlimit(resource, &syscall.Rlimit{Cur: most, Max: most}))
		}
		return failed
	}
}

func init() {
	circumstances["low limits"] = limited(map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_SIGPENDING: 0, unix.RLIMIT_MSGQUEUE: 0, unix.RLIMIT_MEMLOCK: 0, unix.RLIMIT_DATA: 1 << 30})
	circumstances["4 KiB of file"] = limited(map[int]uint64{unix.RLIMIT_FSIZE: 4096})
}

// levelsHere returns the sandbox levels that this machine supports.
func levelsHere(t *testing.T) []string {
	t.Helper()
	report, err := sandbox.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	levels := []string{"off"}
	for _, level := range []string{"basic", "strict"} {
		if slices.ContainsFunc(report.Levels, func(l sandbox.Layer) bool { return l.Name == "level "+level && l.OK }) {
			levels = append(levels, level)
		}
	}
	return levels
}

// A sandbox must keep hard limits that are lower than its own, because a host without privileges cannot raise them.
func TestASandboxKeepsLowerLimitsOfItsHost(t *testing.T) {
	parhost := built(t, ".")
	for _, level := range levelsHere(t) {
		code, stdout, stderr := in(t, "low limits", nil, parhost, "-p", "sqrt", "-o", "values", "--sandbox", level, "--memory", "2GiB", "4")
		if code != exitOK || stdout != "2\n" {
			t.Errorf("level %s: got exit code %d, %q and %q, want %d and the result", level, code, stdout, stderr, exitOK)
		}
	}
}

// If the shell's file size limit stops the command from writing results, a joblog or the copy of a plugin, the error must name this limit.
func TestTheShellsLimitOfFilesIsNamed(t *testing.T) {
	parhost := built(t, ".")
	results := filepath.Join(t.TempDir(), "results")
	script := `exec "$0" "$@" >` + results
	for name, args := range map[string][]string{
		"results": {shell(t), "-c", script, parhost, "-p", "sqrt", "-o", "values", "--range", "0:100000"},
		"joblog":  {parhost, "-p", "sqrt", "-o", "none", "--range", "0:100000", "--joblog", "journal"},
	} {
		code, _, stderr := in(t, "4 KiB of file", nil, args...)
		if code != exitFailed || !strings.Contains(stderr, "file too large; the limit of a file is 4096 bytes here (ulimit -f)") {
			t.Errorf("%s: got exit code %d and %q, want %d and the limit", name, code, stderr, exitFailed)
		}
	}
	plugin := built(t, "../../plugins/sqrt/parhost-plugin-sqrt")
	for _, level := range levelsHere(t) {
		code, stdout, stderr := in(t, "4 KiB of file", nil, parhost, "-p", plugin, "-o", "values", "--sandbox", level, "4")
		if level == "off" {
			if code != exitOK || stdout != "2\n" {
				t.Errorf("level off: got exit code %d, %q and %q, want %d and the result", code, stdout, stderr, exitOK)
			}
			continue
		}
		if code != exitNoSandbox || !strings.Contains(stderr, "the limit of a file is 4096 bytes here: raise it (ulimit -f)") || strings.Contains(stderr, "hint:") {
			t.Errorf("level %s: got exit code %d and %q, want %d and the limit", level, code, stderr, exitNoSandbox)
		}
	}
}
