package main

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// interrupts end a run: the first softly, the second at once.
var interrupts = []os.Signal{os.Interrupt}

// isPipeError reports whether err is what writing to a pipe gives that nobody reads any more.
func isPipeError(err error) bool {
	return errors.Is(err, windows.ERROR_NO_DATA) || errors.Is(err, windows.ERROR_BROKEN_PIPE)
}

func keepPipeErrors() {}
