package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/refuse"
)

// A file system that cannot sync or lock files must cost a warning for each file, but no result.
func TestFilesThatCannotBeSyncedOrLockedAreNamed(t *testing.T) {
	const variable = "PARHOST_TEST_ALONE" // the test changes its process irreversibly, so it runs in a separate one
	if os.Getenv(variable) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), variable+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := refuse.Calls(map[uintptr]unix.Errno{unix.SYS_FSYNC: unix.EOPNOTSUPP, unix.SYS_FDATASYNC: unix.EOPNOTSUPP, unix.SYS_FLOCK: unix.ENOLCK}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	journal, report, dossiers, lock := filepath.Join(dir, "j"), filepath.Join(dir, "r.json"), filepath.Join(dir, "d"), filepath.Join(dir, "l")
	code, stdout, stderr := call(t, nil, "-p", "sqrt", "--mode", "goroutine", "-o", "values", "--joblog", journal, "--report", report, "--dossier", dossiers, "--", "4", "-1", "9")
	if code != exitFailed || stdout != "2\n3\n" { // item -1 fails
		t.Errorf("got exit code %d and %q, want %d and two results: %s", code, stdout, exitFailed, stderr)
	}
	for _, want := range []string{`joblog "` + journal + `": its file system cannot sync files`, `joblog "` + journal + `": its file system cannot lock files`, `"` + report + `": its file system cannot sync files`} {
		if n := strings.Count(stderr, "parhost: warning: "+want); n != 1 {
			t.Errorf("%d warnings that %s, want one: %s", n, want, stderr)
		}
	}
	if files, err := filepath.Glob(filepath.Join(dossiers, "*")); err != nil || len(files) != 1 {
		t.Errorf("got the dossiers %q, %v, want one", files, err)
	}
	var said strings.Builder
	s := newStreams(nil, &said, &said)
	if err := (&lockFile{path: lock}).write(s); err != nil || !strings.Contains(said.String(), `warning: "`+lock+`": its file system cannot sync files`) {
		t.Errorf("a lock file: got %v and %q, want a warning", err, said.String())
	}
	if _, err := os.Stat(report); err != nil {
		t.Error(err)
	}
}
