package joblog

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lock makes f this process's alone until it is closed. Locks keep others from reading here, so it is one byte far behind the end.
func lock(f *os.File, path string) error {
	far := windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &far)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return &InUseError{Path: path}
	}
	if err != nil {
		return err
	}
	return nil
}

// canReplace says that a file which is open cannot be replaced by another, so journals are not compacted.
const canReplace = false

// isRemoved has nothing to find: a file that is open stays.
func isRemoved(os.FileInfo) bool { return false }
