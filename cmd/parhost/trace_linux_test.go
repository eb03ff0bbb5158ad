package main

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestATraceOnAFullDiskChangesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skip("no small disk can be made: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	args := []string{"-p", "sqrt", "-j", "2", "--batch", "1", "-o", "values", "--range", "0:2000"}
	want, stdout, _ := call(t, strings.NewReader(""), args...)
	code, traced, stderr := call(t, strings.NewReader(""), append(args, "--trace", filepath.Join(dir, "trace"))...)
	if code != want || traced != stdout {
		t.Errorf("got exit code %d and other results, want %d and the same", code, want)
	}
	if !strings.Contains(stderr, "parhost: warning: trace ") || !strings.Contains(stderr, "ends early: no space left on device") {
		t.Errorf("got %q, want that the trace ends early", stderr)
	}
}
