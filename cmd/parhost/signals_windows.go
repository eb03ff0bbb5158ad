package main

import (
	"os"
	"syscall"
)

// interrupts end a run: the first softly, the second at once.
var interrupts = []os.Signal{os.Interrupt}

// errPipe is what writing to a pipe gives that nobody reads any more (ERROR_NO_DATA).
var errPipe error = syscall.Errno(232)

func keepPipeErrors() {}
