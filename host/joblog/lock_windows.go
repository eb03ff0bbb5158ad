package joblog

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lock locks f exclusively until it is closed. On Windows a locked range cannot be read by others, so the lock covers one byte far beyond the end of
// the file.
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

// canReplace says that an open file cannot be replaced by another, so journals are not compacted.
const canReplace = false

// isRemoved is always false: Windows does not remove an open file.
func isRemoved(os.FileInfo) bool { return false }
