//go:build !unix

package plain

import "syscall"

// Windows has no pipes and devices among the files of a folder.
const noWait, noFollow = 0, 0

// foldersSync says whether a folder can be synced. On Windows the sync of a file is all there is.
const foldersSync = false

// unsupported are the errors of file systems that cannot sync or lock, beside those that match [errors.ErrUnsupported]. This one is
// ERROR_INVALID_FUNCTION.
var unsupported = []error{syscall.Errno(1)}
