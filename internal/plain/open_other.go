//go:build !unix

package plain

import "syscall"

// noWait and noFollow are not needed on Windows, where a folder contains no pipes and no devices.
const noWait, noFollow = 0, 0

// foldersSync says whether a folder can be synced. Windows can only sync files.
const foldersSync = false

// unsupported lists errors of file systems that cannot sync or lock, in addition to those that match [errors.ErrUnsupported]. It has ERROR_INVALID_FUNCTION.
var unsupported = []error{syscall.Errno(1)}
