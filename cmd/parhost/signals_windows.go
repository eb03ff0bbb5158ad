package main

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// interrupts are the signals that end a run: the first one lets running items finish, the second one kills them.
var interrupts = []os.Signal{os.Interrupt}

// isPipeError reports whether err is the error of writing to a pipe that has no reader left.
func isPipeError(err error) bool {
	return errors.Is(err, windows.ERROR_NO_DATA) || errors.Is(err, windows.ERROR_BROKEN_PIPE)
}

func keepPipeErrors() {}
