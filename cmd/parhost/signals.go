package main

import (
	"os"
	"os/signal"
	"slices"
)

// endSignals returns the signals that end a run. A signal that was ignored when this program started stays ignored: nohup ignores SIGHUP for its
// command, and a shell ignores SIGINT for a command in the background.
func endSignals() []os.Signal {
	return slices.DeleteFunc(slices.Clone(interrupts), signal.Ignored)
}

// notifyInterrupts relays the signals that end a run to a channel.
func notifyInterrupts(to chan<- os.Signal) {
	if list := endSignals(); len(list) > 0 { // Notify without signals would relay all of them
		signal.Notify(to, list...)
	}
}
