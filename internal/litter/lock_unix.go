//go:build unix

package litter

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/plain"
)

// lockName is the file in a folder that its host keeps locked. A lock ends with its process, whatever ends that, and
// holds across containers that share a folder for temporary files, where process ids mean nothing.
const lockName = "lock"

// lockFolder marks a folder as in use until the returned file is closed. On a file system without locks (NFS without its lock daemon, some FUSE) a host
// cannot tell a folder in use from one that was left behind, so no host removes it.
func lockFolder(dir string) (*os.File, error) {
	// Locked before it has its name: who sees a lock that nobody holds takes the folder for one that was left behind.
	f, err := os.OpenFile(filepath.Join(dir, lockName+".new"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil || plain.Unsupported(err) {
		err = os.Rename(f.Name(), filepath.Join(dir, lockName))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweepFolder removes a folder of this very user's that its host has left behind.
func sweepFolder(ctx context.Context, dir string) {
	around, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return
	}
	defer around.Close()
	name := filepath.Base(dir)
	info, err := lstat(around, name)
	if err != nil || !info.IsDir() || !isOwn(info) {
		return
	}
	root, err := around.OpenRoot(name)
	if err != nil {
		return
	}
	defer root.Close()
	_, err = lstat(root, lockName)
	if errors.Is(err, os.ErrNotExist) && time.Since(info.ModTime()) > time.Hour { // its host ended before it came to lock it
		_ = removeIn(ctx, around, name)
	}
	if err != nil {
		return // young, or somebody is at it
	}
	// Whoever can write there may have put anything in the lock's place, or hold a lease on it: to open it must wait for nobody.
	f, err := root.OpenFile(lockName, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = removeIn(ctx, around, name)
	}
	_ = f.Close()
}

func isOwn(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}
