//go:build unix

package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// interrupts are the signals that end a run: the first one lets running items finish, the second one kills them. SIGHUP is included, because results
// may go to a file even after the terminal has gone.
var interrupts = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}

// isPipeError reports whether err is the error of writing to a pipe that has no reader left.
func isPipeError(err error) bool { return errors.Is(err, syscall.EPIPE) }

// keepPipeErrors makes a write to a pipe without reader return an error. Without it, SIGPIPE would end this process before it could stop its workers.
func keepPipeErrors() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
