//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A plugin without a sandbox may replace a file that the host is going to write by anything. Even so, the host must not write to another file.
func TestWhatIsWrittenAtTheEndOfARunGoesWhereTheRunBegan(t *testing.T) {
	plugin := buildFaulty(t)
	for do, folder := range map[string]string{"plant": "out", "swap": "away"} {
		t.Run(do, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := errors.Join(os.Mkdir("out", 0o700), os.Mkdir("elsewhere", 0o700), os.WriteFile("victim", []byte("kept"), 0o600)); err != nil {
				t.Fatal(err)
			}
			code, _, stderr := call(t, nil, "-p", plugin, "-j", "1", "-o", "none", "--report", "out/run.json", "--dossier", "out", `"`+do+`"`, `"fail"`)
			if code != exitFailed {
				t.Fatalf("got exit code %d, want %d; stderr: %s", code, exitFailed, stderr)
			}
			if text, err := os.ReadFile("victim"); string(text) != "kept" {
				t.Errorf("what was linked: got %q and %v, want it as it was", text, err)
			}
			if names, err := os.ReadDir("elsewhere"); len(names) > 0 {
				t.Errorf("in the other folder: got %v and %v, want nothing", names, err)
			}
			if info, err := os.Lstat(folder + "/run.json"); err != nil || !info.Mode().IsRegular() {
				t.Errorf("the report: got %v and %v, want a plain file", info, err)
			}
			if dossiers, err := filepath.Glob(folder + "/item-*"); len(dossiers) != 1 {
				t.Errorf("got the dossiers %q and %v, want one", dossiers, err)
			}
		})
	}
}

// If the user names a pipe as input, opening it waits for a writer. An interrupt must end this wait.
func TestInterruptEndsARunThatWaitsForItsInputToBeOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []os.Signal{os.Interrupt, unix.SIGTERM} {
		cmd := command(t, "-p", "sqrt", "-i", path)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		done := make(chan int)
		go func() { done <- exitOf(t, cmd) }()
		ticker := time.NewTicker(100 * time.Millisecond) // there is no event that says that the command waits
		code := 0
		for waiting := true; waiting; {
			select {
			case code = <-done:
				waiting = false
			case <-ticker.C:
				_ = cmd.Process.Signal(signal)
			}
		}
		ticker.Stop()
		if !late.Stop() || code == exitOK {
			t.Errorf("%v: got exit code %d, want an end by the signal; stderr: %s", signal, code, &stderr)
		}
	}
}
