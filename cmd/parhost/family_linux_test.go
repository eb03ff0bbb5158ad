package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A pool marks its processes with an rlimit, to find what its workers have started. If the user has set this limit to another value, the command must
// say so.
func TestALimitInThePlaceOfTheMarkIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		limit uint64
		says  bool
	}{"a finite limit": {3_600_000_000, true}, "none": {unix.RLIM_INFINITY, false}} {
		pipe := filepath.Join(t.TempDir(), "items")
		if err := unix.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := command(t, "-p", "sqrt", "-o", "values", "-j", "1", "-i", pipe)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if c.says {
			if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_RTTIME, &unix.Rlimit{Cur: c.limit, Max: c.limit}, nil); err != nil {
				t.Fatal(err)
			}
		}
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // the command opens its input before it starts workers, so the limit is set in time
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteString("4\n"); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		if code := exitOf(t, cmd); code != exitOK || strings.Contains(stderr.String(), "RLIMIT_RTTIME is 3600000000 µs") != c.says {
			t.Errorf("%s: got exit code %d and %q, want %d and that the limit is said: %v", name, code, &stderr, exitOK, c.says)
		}
	}
}
