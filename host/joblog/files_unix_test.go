//go:build unix

package joblog_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/joblog"
)

// soon calls call and fails the test if it does not return soon.
func soon(t *testing.T, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("still busy after a minute")
		return nil
	}
}

func TestWhatIsNoPlainFileIsNoJournal(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"pipe": func(path string) error { return unix.Mkfifo(path, 0o600) },
		"link": func(path string) error {
			return errors.Join(unix.Mkfifo(path+".pipe", 0o600), os.Symlink(path+".pipe", path))
		},
		"device": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			err := soon(t, func() error {
				j, err := joblog.Open(joblog.Config{Path: path})
				if err == nil {
					err = errors.Join(errors.New("it was opened"), j.Close())
				}
				return err
			})
			if !errors.As(err, new(*joblog.ForeignError)) {
				t.Errorf("Open: got %v, want a ForeignError", err)
			}
		})
	}
}

// The path to which a journal is compacted may be a link to another file of the host. The compaction must not write through it.
func TestACompactionWritesThroughNoLink(t *testing.T) {
	needCompaction(t)
	path := newPath(t)
	p := openPool(t, echo)
	for range 3 {
		runAll(t, p, path, texts(`"f"`), retryFailed)
	}
	victim := filepath.Join(t.TempDir(), "victim")
	writeFile(t, victim, []byte("kept"))
	if err := os.Symlink(victim, filepath.Join(filepath.Dir(path), ".run.joblog.compact")); err != nil {
		t.Fatal(err)
	}
	if j := openJournal(t, path); !j.Contents().Compacted {
		t.Errorf("not compacted: %+v", j.Contents())
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the journal: got %v and %v, want a plain file", info, err)
	}
	if got := string(readFile(t, victim)); got != "kept" {
		t.Errorf("what was linked: got %q, want it as it was", got)
	}
}

// If the file is taken away during a run, results that were shown may be lost, so the journal must report an error.
func TestAJournalThatIsTakenAwayIsAnError(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"cut":     func(path string) error { return os.Truncate(path, 10) },
		"removed": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", nil, 0o600), os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			j, err := joblog.Open(joblog.Config{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			if err := take(path); err != nil {
				t.Fatal(err)
			}
			if err := j.Close(); !errors.As(err, new(*joblog.WriteError)) {
				t.Errorf("Close: got %v, want a WriteError", err)
			}
		})
	}
}
