//go:build unix

package joblog

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lock makes f this process's alone until it is closed. A flock(2) ends with its process, whatever ends that, and holds between
// two opens of one process too; the lock of fcntl(2) is there only because it can tell whose it is.
func lock(f *os.File, path string) error {
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		held := &InUseError{Path: path}
		if unix.FcntlFlock(f.Fd(), unix.F_GETLK, &whole) == nil && whole.Type != unix.F_UNLCK {
			held.PID = int(whole.Pid)
		}
		return held
	}
	if err != nil {
		return err
	}
	_ = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &whole)
	return nil
}

// canReplace says that a file which is open can be replaced by another.
const canReplace = true

// isRemoved reports whether a file has no name any more.
func isRemoved(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
}
