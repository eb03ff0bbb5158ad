package litter

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Look opens a file or folder by its name in a folder, only to look at its attributes (O_PATH). It crosses no mount, where the error matches EXDEV, and
// follows no link. A plugin that can mount there could mount a FUSE file system that never answers, and a process that asks it anything waits in the
// kernel, where not even SIGKILL ends it.
//
// Before Linux 5.6, which has openat2, a mount is crossed.
func Look(folder int, name string) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err = unix.Openat2(folder, name, &how)
		if err != unix.EINTR && err != unix.EAGAIN { // EAGAIN: something was renamed meanwhile
			break
		}
	}
	if err == unix.ENOSYS || err == unix.EPERM { // EPERM: of a filter of system calls that does not know it
		fd, err = unix.Openat(folder, name, int(how.Flags), 0)
	}
	if err != nil {
		return -1, &os.PathError{Op: "look at", Path: name, Err: err}
	}
	return fd, nil
}

// lstat is [os.Root.Lstat] of a name in the root, and crosses no mount, as [Look].
func lstat(root *os.Root, name string) (fs.FileInfo, error) {
	folder, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	fd, err := Look(int(folder.Fd()), name)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	return info, errors.Join(err, f.Close())
}
