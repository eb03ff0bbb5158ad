package plain

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Open opens a regular file for reading, also through symbolic links. It never waits for another process.
//
// The error is a [*KindError] if the path leads to anything but a regular file.
func Open(path string) (*os.File, error) {
	return open(path, os.Stat, os.O_RDONLY|noWait, 0)
}

// OpenOwn opens a regular file for reading and writing, and creates it with the permissions perm if it does not exist. It never waits for another
// process, and does not follow a symbolic link in the last element of the path.
//
// The error is a [*KindError] if the path leads to anything but a regular file.
func OpenOwn(path string, perm fs.FileMode) (*os.File, error) {
	return open(path, os.Lstat, os.O_RDWR|os.O_CREATE|noWait|noFollow, perm)
}

// Resolve follows the symbolic links in a path, even if the last one leads to a file that does not exist. [OpenOwn] on the result opens the file
// that the path led to when it was resolved, or fails.
func Resolve(path string) (string, error) {
	for range maxLinks {
		folder, name := Split(path)
		if there, err := filepath.EvalSymlinks(folder); err == nil { // if it fails, opening the path returns the error, with the path as given
			path = filepath.Join(there, name)
		}
		target, _ := os.Readlink(path)
		switch {
		case target == "": // it is not a symbolic link
			return path, nil
		case filepath.IsAbs(target):
			path = target
		default:
			path = filepath.Dir(path) + string(filepath.Separator) + target // not cleaned, see Split
		}
	}
	return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("too many links")}
}

// Split returns the folder of a path and the name in it, as the kernel sees them. For link/.. [filepath.Dir] returns the folder of the link, but
// the kernel goes to the parent of the folder that the link leads to.
func Split(path string) (folder, name string) {
	folder, name = filepath.Split(path)
	if folder == "" {
		folder = "."
	}
	return folder, name
}

// maxLinks is the number of symbolic links that the kernel follows (path_resolution(7)).
const maxLinks = 40

// open looks at a file before it opens it, because opening a device may have effects, and again afterwards, because another file may have replaced it.
func open(path string, look func(string) (fs.FileInfo, error), flag int, perm fs.FileMode) (*os.File, error) {
	if info, err := look(path); err == nil && !info.Mode().IsRegular() {
		return nil, &KindError{path, info.Mode()}
	}
	f, err := os.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &KindError{path, info.Mode()}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Read reads a whole regular file, also through symbolic links. It never waits for another process.
//
// The error is a [*KindError] if the path leads to anything but a regular file, and a [*SizeError] if the file is larger than most, in bytes.
func Read(path string, most int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var text bytes.Buffer
	if _, err := Copy(&text, f, most); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

// Copy copies the rest of a file, and returns the number of bytes copied. most limits the size of the file, in bytes. The error is a [*SizeError] if the
// file is larger or grows beyond the limit meanwhile; in the second case the bytes up to the limit have been copied.
func Copy(to io.Writer, f *os.File, most int64) (int64, error) {
	if info, err := f.Stat(); err == nil && info.Size() > most {
		return 0, &SizeError{f.Name(), most}
	}
	n, err := io.Copy(to, io.LimitReader(f, most))
	if err != nil || n < most {
		return n, err
	}
	if more, _ := f.Read(make([]byte, 1)); more > 0 { // the file is growing
		return n, &SizeError{f.Name(), most}
	}
	return n, nil
}
