package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The go command waits for what a pipe in a folder says, and heeds no signal then. It ends with parhost, and parhost at the first signal.
func TestABuildThatWaitsForAPipeEndsWithTheCommand(t *testing.T) {
	for key, value := range goEnv() {
		t.Setenv(key, value)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for name, args := range map[string][]string{
		"a run":     {"-p", "DIR", "4"},
		"described": {"plugins", "describe", "DIR"},
	} {
		for _, signal := range []os.Signal{os.Interrupt, os.Kill} {
			dir := t.TempDir()
			pipe := filepath.Join(dir, "go.mod")
			if err := unix.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			given := append([]string(nil), args...)
			for i := range given {
				if given[i] == "DIR" {
					given[i] = dir
				}
			}
			cmd := command(t, given...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits until somebody reads
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if code := exitOf(t, cmd); !late.Stop() || signal == os.Interrupt && code != exitInterrupted {
				t.Errorf("%s, %v: got exit code %d, want %d for an interrupt", name, signal, code, exitInterrupted)
			}
			gone := []unix.PollFd{{Fd: int32(w.Fd())}}
			for err = unix.EINTR; err == unix.EINTR; {
				_, err = unix.Poll(gone, int(time.Minute.Milliseconds()))
			}
			if err != nil || gone[0].Revents&unix.POLLERR == 0 {
				t.Errorf("%s, %v: the go command still reads: %v", name, signal, err)
			}
			_ = w.Close()
		}
	}
}
