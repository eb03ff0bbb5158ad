package main

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAFullDiskUnderTheJournalLosesNothingThatWasShown(t *testing.T) {
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=300k")
	if errors.Is(err, unix.EPERM) {
		t.Skip("only root can mount a small disk: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	journal := dir + "/run.joblog"
	args := []string{"-p", "sqrt", "-o", "values", "--progress", "none", "--range", "0:20000"}
	_, want, _ := call(t, nil, args...)
	args = append(args, "--joblog", journal)
	code, shown, stderr := call(t, nil, args...)
	if code != exitFailed || !strings.Contains(stderr, "write joblog \""+journal+"\": ") || !strings.Contains(stderr, unix.ENOSPC.Error()) {
		t.Errorf("got exit code %d and %q, want %d and %q", code, stderr, exitFailed, unix.ENOSPC)
	}
	if !strings.HasPrefix(want, shown) || len(shown) == len(want) {
		t.Errorf("got %d bytes of results, want the first of %d", len(shown), len(want))
	}
	lines, records := strings.Count(shown, "\n"), recordsIn(t, journal)
	if lines > records { // no result is shown if the first records already fill the disk
		t.Errorf("%d results were shown, and %d records are in the journal", lines, records)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if code, got, stderr := call(t, nil, append(args, "--resume")...); code != exitOK || got != want {
		t.Errorf("with more room: got exit code %d and %d bytes, want %d and %d; stderr: %s", code, len(got), exitOK, len(want), stderr)
	}
}

func TestNoRoomForAJournalAtAll(t *testing.T) {
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k")
	if errors.Is(err, unix.EPERM) {
		t.Skip("only root can mount a small disk: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	if code, out, stderr := call(t, nil, "-p", "sqrt", "-o", "values", "--joblog", dir+"/a", "--env", "A=1", "4"); code != exitOK {
		t.Fatalf("the first: exit code %d, %q, %s", code, out, stderr)
	}
	code, out, stderr := call(t, nil, "-p", "sqrt", "-o", "values", "--joblog", dir+"/b", "4")
	if code != exitFailed || out != "" || !strings.Contains(stderr, unix.ENOSPC.Error()) {
		t.Errorf("got exit code %d, %q and %q, want %d, nothing, and %q", code, out, stderr, exitFailed, unix.ENOSPC)
	}
}
