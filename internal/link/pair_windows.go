package link

import (
	"errors"
	"os"
)

var errNotSupported = errors.New("no descriptors to inherit on Windows")

// New returns an error: there are no links on Windows.
func New(int) (l *Link, in, out *os.File, err error) { return nil, nil, nil, errNotSupported }

// Open returns an error: there are no links on Windows.
func Open(int, int, int) (*Link, error) { return nil, errNotSupported }

func write(uintptr, []byte) (int, error) { return 0, errNotSupported }

func watched(uintptr) (*os.File, error) { return nil, errNotSupported }

func writable(uintptr) bool { return true }
