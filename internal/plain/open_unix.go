//go:build unix

package plain

import "golang.org/x/sys/unix"

const (
	noWait   = unix.O_NONBLOCK | unix.O_NOCTTY // do not wait for the other end of a pipe, or for the holder of a lease
	noFollow = unix.O_NOFOLLOW
)

// foldersSync says whether a folder can be synced.
const foldersSync = true

// unsupported lists errors of file systems that cannot sync or lock, in addition to those that match [errors.ErrUnsupported]. CIFS and FUSE return
// EINVAL or ENOTTY, NFS without its lock daemon returns ENOLCK.
var unsupported = []error{unix.EINVAL, unix.ENOTTY, unix.ENOLCK}
