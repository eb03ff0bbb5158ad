package link

import (
	"errors"
	"os"
)

var errNotSupported = errors.New("no socket pair to inherit on Windows")

// Pair has no means here.
func Pair(int) (*Link, *os.File, error) { return nil, nil, errNotSupported }

// Open has no means here.
func Open(int, int) (*Link, error) { return nil, errNotSupported }

func write(uintptr, []byte) (int, error) { return 0, errNotSupported }

func shutdown(uintptr) error { return errNotSupported }
