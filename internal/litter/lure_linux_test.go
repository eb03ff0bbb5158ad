package litter_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/attempt"
	"github.com/parhost/parhost/internal/litter"
)

// setLure mounts a file system over target that never answers. A process that asks it anything would hang so that not even SIGKILL ends it.
func setLure(t *testing.T, target string) {
	t.Helper()
	l, err := attempt.SetLure(target)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		t.Skip("no file system can be mounted here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := l.Asked(); n > 0 {
			t.Errorf("what is mounted over %s was asked %d times, want never", filepath.Base(target), n)
		}
		if err := l.Remove(); err != nil {
			t.Error(err)
		}
	})
}

func TestRemoveAsksNothingOfWhatIsMounted(t *testing.T) {
	for _, name := range []string{"litter", "litter/deep", "litter/deep/file", "litter/file", "litter/lock"} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			dir := filepath.Join(base, "litter")
			mkdir(t, filepath.Join(dir, "deep", "er"))
			for _, file := range []string{"file", "lock", "deep/file"} {
				write(t, filepath.Join(dir, file))
			}
			setLure(t, filepath.Join(base, name))
			if err := litter.Remove(t.Context(), dir); err == nil {
				t.Error("Remove: got no error, want what is left")
			}
		})
	}
}

func TestAFolderAsksNothingOfWhatIsMounted(t *testing.T) {
	for name, where := range map[string]func(f *litter.Folder) string{
		"over the folder":    (*litter.Folder).Path,
		"over a dropped one": func(f *litter.Folder) string { return filepath.Join(f.Path(), "a") },
		"in a dropped one":   func(f *litter.Folder) string { return filepath.Join(f.Path(), "a", "socket") },
	} {
		t.Run(name, func(t *testing.T) {
			f, err := litter.Open("parhost", t.TempDir(), 0)
			if err != nil {
				t.Fatal(err)
			}
			a := filepath.Join(f.Path(), "a")
			mkdir(t, a)
			write(t, filepath.Join(a, "socket"))
			setLure(t, where(f))
			if err, want := f.Reach(), name == "over the folder"; errors.Is(err, unix.EXDEV) != want || !want && err != nil {
				t.Errorf("Reach: got %v, want an error that something is mounted there: %v", err, want)
			}
			if free, want := f.Drop(a), name != "over a dropped one"; free != want {
				t.Errorf("Drop: got %v, want %v", free, want)
			}
			if err := f.Close(t.Context()); err == nil {
				t.Error("Close: got no error, want what is left")
			}
		})
	}
}

// The folder of a killed host may contain mounts.
func TestASweepAsksNothingOfWhatIsMounted(t *testing.T) {
	for _, name := range []string{"parhost-1-1", "parhost-1-1/lock", "parhost-1-1/deep"} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			mkdir(t, base+"/parhost-1-1/deep")
			write(t, base+"/parhost-1-1/lock")
			mkdir(t, base+"/parhost-1-2")
			write(t, base+"/parhost-1-2/lock")
			setLure(t, filepath.Join(base, name))
			f, err := litter.Open("parhost", base, 0)
			if err != nil {
				t.Fatal(err)
			}
			for begun := time.Now(); ; time.Sleep(time.Millisecond) { // the sweep reports its end only by what it has removed
				if _, err := os.Lstat(base + "/parhost-1-2"); errors.Is(err, os.ErrNotExist) {
					break
				}
				if time.Since(begun) > time.Minute {
					t.Fatal("the other folder is not swept away")
				}
			}
			if err := f.Close(t.Context()); err != nil {
				t.Errorf("Close: got %v", err)
			}
		})
	}
}
