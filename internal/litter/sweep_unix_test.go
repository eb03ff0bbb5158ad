//go:build unix

package litter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A folder belongs to its host from the moment it exists, even if another host sweeps at that time.
func TestAFolderThatIsBeingMadeIsNotSweptAway(t *testing.T) {
	base := t.TempDir()
	ctx, end := context.WithCancel(t.Context())
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for ctx.Err() == nil {
			sweep(ctx, "parhost", filepath.Join(base, "own"))
		}
	})
	for n := range 500 {
		dir := fmt.Sprintf("%s/parhost-1-%d", base, n)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		lock, err := lockFolder(dir)
		if err != nil {
			t.Errorf("lock a folder while another host sweeps: got %v", err)
			break
		}
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("a folder that is locked: got %v, want it there", err)
			break
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		lock.Close()
	}
	end()
	sweeper.Wait()
}

func TestAFolderWithoutALockGoesWhenItIsOld(t *testing.T) {
	base := t.TempDir()
	for name, left := range map[string]string{"nothing": "", "a lock that was not finished": lockName + ".new"} {
		dir := fmt.Sprintf("%s/parhost-1-%d", base, len(left))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if left != "" {
			if err := os.WriteFile(dir+"/"+left, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		sweep(t.Context(), "parhost", filepath.Join(base, "own"))
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("a young folder with %s: got %v, want it left alone", name, err)
		}
		old := time.Now().Add(-2 * time.Hour)
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
		sweep(t.Context(), "parhost", filepath.Join(base, "own"))
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("an old folder with %s is still there", name)
		}
	}
}

// brief is a context that ends after its Err method has been called that many times.
type brief int

func (*brief) Deadline() (end time.Time, ok bool) { return end, false }
func (*brief) Done() <-chan struct{}              { return nil }
func (*brief) Value(any) any                      { return nil }

func (b *brief) Err() error {
	if *b--; *b < 0 {
		return context.Canceled
	}
	return nil
}

// However far a removal came, the next host recognizes the rest as an abandoned folder and removes it.
func TestWhatIsLeftOfAFolderGoesWithTheNextHost(t *testing.T) {
	for _, asked := range []brief{0, 1, 3, 10} {
		base := t.TempDir()
		dir := base + "/parhost-1-1"
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		lock, err := lockFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := lock.Close(); err != nil { // as if its host had been killed
			t.Fatal(err)
		}
		for i := range 5 {
			if err := os.MkdirAll(fmt.Sprintf("%s/%d/a/b", dir, i), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		ctx := asked
		sweepFolder(&ctx, dir)
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("after a sweep that was asked to end: got %v, want the folder there", err)
		}
		sweep(t.Context(), "parhost", filepath.Join(base, "own"))
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after %d looks, and another sweep: got %v, want it gone", asked, err)
		}
	}
}

// A sweep removes only folders that a host may have made, whatever else lies beside them.
func TestNothingElseIsSweptAway(t *testing.T) {
	base := t.TempDir()
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{
		"parhost-my-results", "parhost-1-2-3", "parhost-1-", "parhost--1", "parhost-1", "parhost-1a-2", "parhost-1-2.bak", "xparhost-1-2", "parhost-results",
	} {
		for lock, write := range map[string]bool{"": false, "-locked": true} {
			dir := fmt.Sprintf("%s/%s%s", base, name, lock)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if write {
				if err := os.WriteFile(dir+"/"+lockName, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chtimes(dir, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	kept, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func(path string) error{ // entries with a valid name that are not folders
		"parhost-1-2": func(path string) error { return os.Symlink(base+"/parhost-my-results", path) },
		"parhost-1-3": func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		if err := put(base + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 { // only root can make a folder that belongs to another user
		dir := base + "/parhost-1-4"
		if err := errors.Join(os.Mkdir(dir, 0o777), os.WriteFile(dir+"/"+lockName, nil, 0o666), os.Chown(dir, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadDir(base)
	if err != nil || len(before) <= len(kept) {
		t.Fatalf("got %v, %v, want more than %d", before, err, len(kept))
	}
	sweep(t.Context(), "parhost", filepath.Join(base, "own"))
	if after, err := os.ReadDir(base); err != nil || len(after) != len(before) {
		t.Errorf("what is left: got %v, %v, want %v", after, err, before)
	}
	if _, err := os.Stat(base + "/parhost-my-results-locked/" + lockName); err != nil {
		t.Errorf("a file in one: got %v, want it there", err)
	}
}

// A sweep does not block if something else has replaced a lock file.
func TestNobodyWaitsForALock(t *testing.T) {
	base := t.TempDir()
	fifo := base + "/parhost-1-1"
	if err := errors.Join(os.Mkdir(fifo, 0o700), unix.Mkfifo(fifo+"/"+lockName, 0o600)); err != nil {
		t.Fatal(err)
	}
	leased := base + "/parhost-1-2"
	if err := os.Mkdir(leased, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(leased+"/"+lockName, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lease(t, f)
	begun := time.Now()
	sweep(t.Context(), "parhost", filepath.Join(base, "own"))
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("sweep: took %v, want no wait for a lease", took)
	}
}
