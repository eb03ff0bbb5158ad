package rss

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// The status files of a killed process report no memory while its threads end, which may take a while on a busy machine. The folder imitates that
// of such a process in /proc.
func TestAProcessWhoseThreadsAreAllEndingHasEnded(t *testing.T) {
	for name, c := range map[string]struct {
		alive string // further text in the status of the third thread
		gone  bool   // the third thread has no status
		ended bool
	}{
		"all ending":             {ended: true},
		"one has memory":         {alive: "VmRSS:\t 8 kB\nRssAnon:\t 4 kB\n"},
		"one cannot be read yet": {gone: true},
	} {
		dir := t.TempDir()
		status := func(thread, more string) {
			path := filepath.Join(dir, thread)
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(path, "status"), []byte("State:\tR (running)\nThreads:\t3\n"+more), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, thread := range []string{".", "task/1", "task/2"} {
			status(thread, "")
		}
		if status("task/3", c.alive); c.gone {
			if err := os.Remove(filepath.Join(dir, "task/3/status")); err != nil {
				t.Fatal(err)
			}
		}
		folder, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		file, err := folder.Open("status")
		if err != nil {
			t.Fatal(err)
		}
		p := &Process{folder: folder, status: file, thread: ".", text: make([]byte, 4<<10)}
		switch m, err := p.Read(); {
		case c.ended && !errors.Is(err, ErrEnded):
			t.Errorf("%s: got %v, want that the process has ended", name, err)
		case c.alive != "" && (err != nil || m.Resident != 8<<10):
			t.Errorf("%s: got %+v and %v, want 8 KiB", name, m, err)
		case c.gone && (err == nil || errors.Is(err, ErrEnded)):
			t.Errorf("%s: got %v, want that nothing is known", name, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
