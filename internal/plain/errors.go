package plain

import (
	"errors"
	"fmt"
	"io/fs"
)

// KindError says that a path leads to something other than a regular file.
type KindError struct {
	Path string
	Mode fs.FileMode
}

func (e *KindError) Error() string {
	return fmt.Sprintf("%s: is %s, want a plain file", e.Path, kindOf(e.Mode))
}

func kindOf(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "a folder"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a pipe"
	case fs.ModeSocket:
		return "a socket"
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		return "a device"
	}
	return "something else"
}

// SizeError says that a file is larger than its reader allows.
type SizeError struct {
	Path string
	Most int64
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s: is larger than %d bytes, which is the limit", e.Path, e.Most)
}

// Cause returns the underlying error of a failed file operation, without the names of the operation and of the file. It is for messages that name
// the file as the user wrote it.
func Cause(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok && path.Error() == err.Error() { // otherwise err has more text than the PathError
		return path.Err
	}
	return err
}
