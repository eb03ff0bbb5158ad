package plain

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Open opens a plain file for reading, also one behind links. It never waits for another process.
//
// The error is a [*KindError] if the name belongs to something else.
func Open(path string) (*os.File, error) {
	return open(path, os.Stat, os.O_RDONLY|noWait, 0)
}

// OpenOwn opens a plain file for reading and writing, and makes it with the rights perm if it is not there. It never waits for another process,
// and follows no link in the last part of the path.
//
// The error is a [*KindError] if the name belongs to something else.
func OpenOwn(path string, perm fs.FileMode) (*os.File, error) {
	return open(path, os.Lstat, os.O_RDWR|os.O_CREATE|noWait|noFollow, perm)
}

// Resolve follows the links in a path, also where the last one leads to a file that is not there. Whoever opens what it returns by [OpenOwn]
// opens what the path led to when it was resolved, or nothing.
func Resolve(path string) (string, error) {
	for range mostLinks {
		folder, name := Split(path)
		if there, err := filepath.EvalSymlinks(folder); err == nil { // else whoever opens it gets the error, with the path that was given
			path = filepath.Join(there, name)
		}
		target, _ := os.Readlink(path)
		switch {
		case target == "": // it is no link
			return path, nil
		case filepath.IsAbs(target):
			path = target
		default:
			path = filepath.Dir(path) + string(filepath.Separator) + target // not cleaned, see Split
		}
	}
	return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("too many links")}
}

// Split returns the folder of a path and the name in it, as the kernel sees them. [filepath.Dir] takes link/.. for the folder of the link, and the
// kernel for the folder above the one that the link leads to.
func Split(path string) (folder, name string) {
	folder, name = filepath.Split(path)
	if folder == "" {
		folder = "."
	}
	return folder, name
}

// mostLinks is how many the kernel follows (path_resolution(7)).
const mostLinks = 40

// open looks at a file before it opens it, because to open a device may change something, and after that, because another may have taken its place.
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

// Read reads a whole plain file, also one behind links. It never waits for another process.
//
// The error is a [*KindError] if the name belongs to something else, and a [*SizeError] if there are more than most bytes in the file.
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

// Copy copies what is left of a file, and returns how many bytes that was. The error is a [*SizeError] if the file has or gets more than most
// bytes; then up to most of them have been copied.
func Copy(to io.Writer, f *os.File, most int64) (int64, error) {
	if info, err := f.Stat(); err == nil && info.Size() > most {
		return 0, &SizeError{f.Name(), most}
	}
	n, err := io.Copy(to, io.LimitReader(f, most))
	if err != nil || n < most {
		return n, err
	}
	if more, _ := f.Read(make([]byte, 1)); more > 0 { // it grows
		return n, &SizeError{f.Name(), most}
	}
	return n, nil
}
