//go:build unix

package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// interrupts end a run: the first softly, the second at once. SIGHUP is one: the terminal has gone, but results may go to a file.
var interrupts = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}

// isPipeError reports whether err is what writing to a pipe gives that nobody reads any more.
func isPipeError(err error) bool { return errors.Is(err, syscall.EPIPE) }

// keepPipeErrors makes a write to a pipe that nobody reads an error to look at, instead of the end of this process: workers are
// to be ended first.
func keepPipeErrors() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
