package litter

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Look opens a file or folder by its name in a folder with O_PATH, which only gives access to its attributes. It follows no symbolic link, and
// crosses no mount: at a mount the error matches EXDEV. A plugin that can mount could mount a FUSE file system that never answers; a process that
// asks such a file system for anything waits in the kernel, where not even SIGKILL ends it.
//
// Before Linux 5.6, which added openat2, Look crosses mounts.
func Look(folder int, name string) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err = unix.Openat2(folder, name, &how)
		if err != unix.EINTR && err != unix.EAGAIN { // EAGAIN: a file was renamed during the look-up
			break
		}
	}
	if err == unix.ENOSYS || err == unix.EPERM { // EPERM: from a seccomp filter that does not know openat2
		fd, err = unix.Openat(folder, name, int(how.Flags), 0)
	}
	if err != nil {
		return -1, &os.PathError{Op: "look at", Path: name, Err: err}
	}
	return fd, nil
}

// lstat is [os.Root.Lstat] of a name in the root that, like [Look], crosses no mount.
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
