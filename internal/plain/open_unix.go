//go:build unix

package plain

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const (
	noWait   = unix.O_NONBLOCK | unix.O_NOCTTY // for the other end of a pipe, or for the holder of a lease
	noFollow = unix.O_NOFOLLOW
)

func syncNames(folder *os.File) error {
	if err := folder.Sync(); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}
