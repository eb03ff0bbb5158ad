package litter

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"
)

// lockName is a file in a folder that is there as long as its host is.
const lockName = "lock"

// lockFolder marks a folder as in use until the file is closed: then, or when its process ends, whatever ends that, the system deletes it.
func lockFolder(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(name, windows.DELETE, 0, nil, windows.CREATE_NEW, windows.FILE_ATTRIBUTE_TEMPORARY|windows.FILE_FLAG_DELETE_ON_CLOSE, 0)
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// sweepFolder removes a folder that its host has left behind. Sockets here are ports, so there is nothing in it; a folder that has
// anything in it is left alone, and so is one of a host that may just be about to lock it.
func sweepFolder(_ context.Context, dir string) {
	if info, err := os.Lstat(dir); err == nil && info.IsDir() && time.Since(info.ModTime()) > time.Minute {
		_ = os.Remove(dir)
	}
}
