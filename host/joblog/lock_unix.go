//go:build unix

package joblog

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lock locks f exclusively until it is closed. It uses flock(2), which the kernel releases whenever the process ends, and which also excludes a
// second open in the same process. It takes the fcntl(2) lock too, only because F_GETLK tells the pid of its owner.
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

// canReplace says that an open file can be replaced by another.
const canReplace = true

// isRemoved reports whether a file has no name left.
func isRemoved(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
}
