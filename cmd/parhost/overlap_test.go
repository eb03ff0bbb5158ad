package main

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
)

// What a worker may change is nothing that its host reads, writes or executes. The script overlap.txtar has all of these files.
func TestWhatWorkersMayChangeHoldsNoFileOfTheHost(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows opens no files to workers")
	}
	t.Chdir(t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if err := errors.Join(
		os.Mkdir("out", 0o700), os.Mkdir("away", 0o700), os.WriteFile("items", []byte("4"), 0o600),
		os.Symlink("out", "linked"), os.Symlink("../away", "out/away"), os.Link("items", "again"),
	); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"the folder itself":             {"--rw", "out", "--dossier", "out", "4"},
		"what is not there yet":         {"--rw", "out", "--joblog", "out/new/run.joblog", "4"},
		"a link to it":                  {"--rw", "out", "--report", "linked/run.json", "4"},
		"a link in it":                  {"--rw", "out", "--report", "out/away/run.json", "4"},
		"another link of the same file": {"--rw", "again", "--input", "items"},
		"what is around it":             {"--rw", ".", "--report", "out/run.json", "4"},
		"a folder of plugins":           {"--rw", "out", "--plugin-dir", "out", "4"},
		"the folder of what it built":   {"--rw", os.Getenv("XDG_CACHE_HOME"), "4"},
		"one folder of several":         {"--rw", "away", "--rw", "out", "--report", "out/run.json", "4"},
		"in a sandbox that shows it as": {"--rw", "out:/elsewhere", "--report", "out/run.json", "--sandbox", "strict", "4"},
	} {
		if runtime.GOOS != "linux" && name == "the folder of what it built" {
			continue // it lies elsewhere
		}
		code, _, stderr := call(t, nil, append([]string{"-p", "sqrt", "--sandbox", "basic"}, args...)...)
		if code != exitUsage || !strings.Contains(stderr, " lies in --rw ") {
			t.Errorf("%s: got exit code %d, want %d and what lies in --rw; stderr: %s", name, code, exitUsage, stderr)
		}
	}
	if _, err := os.Lstat("out/run.json"); err == nil {
		t.Error("the report has been written")
	}
}
