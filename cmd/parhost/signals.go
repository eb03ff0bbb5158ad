package main

import (
	"os"
	"os/signal"
	"slices"
)

// endSignals returns the signals that end a run. One that was ignored when this program started stays ignored: nohup does so with SIGHUP, and a
// shell with the SIGINT of what it runs in the background.
func endSignals() []os.Signal {
	return slices.DeleteFunc(slices.Clone(interrupts), signal.Ignored)
}

// notifyInterrupts relays the signals that end a run to a channel.
func notifyInterrupts(to chan<- os.Signal) {
	if list := endSignals(); len(list) > 0 { // Notify takes none for all
		signal.Notify(to, list...)
	}
}
