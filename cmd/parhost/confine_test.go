package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// libraries opens what a test binary needs that is linked dynamically.
func libraries() []string {
	var flags []string
	for _, folder := range []string{"/lib", "/lib64", "/usr/lib"} {
		if _, err := os.Stat(folder); err == nil {
			flags = append(flags, "--ro", folder)
		}
	}
	return flags
}

func TestAConfinedRunIsLikeAnyOther(t *testing.T) {
	args := append([]string{"-p", "sqrt", "--procs", "2", "-o", "values", "--sandbox", "auto", "--range", "0:1000"}, libraries()...)
	cmd := command(t, args...)
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

// What is asked for by name and cannot be given ends the command before anything runs.
func TestASandboxThatCannotBeGivenIsExitCode4(t *testing.T) {
	script := filepath.Join(t.TempDir(), "parhost-plugin-script") // which strict cannot run without its interpreter; other systems have no strict
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "-p", script, "--sandbox", "strict", "1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if code := runFor(cmd); code != exitNoSandbox {
		t.Errorf("got exit code %d, want %d; stderr: %s", code, exitNoSandbox, &stderr)
	}
}

func runFor(cmd *exec.Cmd) int {
	_ = cmd.Run() // the code says it all
	return cmd.ProcessState.ExitCode()
}
