//go:build unix

package host

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is the file in a private folder that its host keeps locked. A lock ends with its process, whatever ends that, and
// holds across containers that share a folder for temporary files, where process ids mean nothing.
const lockName = "lock"

// lockDir marks a private folder as in use until the file is closed.
func lockDir(dir string) (*os.File, error) {
	// Locked before it has its name: who sees a lock that nobody holds takes the folder for one that was left behind.
	f, err := os.OpenFile(filepath.Join(dir, lockName+".new"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, lockName))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweep removes the private folders that hosts left behind which were killed.
func sweep(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, "parhost-*-*")) // the pattern is well formed
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|unix.O_NOFOLLOW, 0)
		if errors.Is(err, os.ErrNotExist) && time.Since(info.ModTime()) > time.Hour { // its host ended before it came to lock it
			_ = os.RemoveAll(dir)
		}
		if err != nil {
			continue // young, or somebody else's
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = f.Close()
	}
}
