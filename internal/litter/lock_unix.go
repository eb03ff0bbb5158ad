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

// lockName is the file in a folder that the folder's host keeps locked. The lock ends with its process, however that ends. It also works across
// containers that share a folder for temporary files, where process ids mean nothing.
const lockName = "lock"

// lockFolder marks a folder as in use until the returned file is closed. On a file system without locks (NFS without its lock daemon, some FUSE) a
// host cannot tell a folder in use from an abandoned one, so no host removes it.
func lockFolder(dir string) (*os.File, error) {
	// The file is locked before it gets its final name: a host that sees a lock file that is not locked takes the folder for abandoned.
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

// sweepFolder removes a folder of this user that its host has left behind.
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
	if errors.Is(err, os.ErrNotExist) && time.Since(info.ModTime()) > time.Hour { // the host ended before it locked the folder
		_ = removeIn(ctx, around, name)
	}
	if err != nil {
		return // a young folder without a lock, or an entry that cannot be looked at
	}
	// A process that can write there may have replaced the lock file, or hold a lease on it. So the open must not block.
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
