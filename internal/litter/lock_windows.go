package litter

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"
)

// lockName is a file in a folder that exists as long as its host does.
const lockName = "lock"

// lockFolder marks a folder as in use until the returned file is closed. Windows deletes the file when it is closed or its process ends, however that ends.
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

// sweepFolder removes a folder that its host has left behind, if the folder is empty and older than a minute. Sockets on Windows are ports, so an
// abandoned folder has nothing in it; a younger one may belong to a host that is about to lock it.
func sweepFolder(_ context.Context, dir string) {
	if info, err := os.Lstat(dir); err == nil && info.IsDir() && time.Since(info.ModTime()) > time.Minute {
		_ = os.Remove(dir)
	}
}
