package seatbelt

import (
	"errors"
	"fmt"

	"github.com/parhost/parhost/host/sandbox/internal/trial"
)

// Judge says which of a profile's walls did not hold in a trial, or what was closed that should not be.
func Judge(o trial.Outcome, network, fork bool) error {
	for _, a := range []struct {
		what, failure string
		allowed       bool
	}{
		{"read a file of its host", o.Read, false},
		{"write to a folder of its host", o.Write, false},
		{"connect to its host", o.Connect, network},
		{"signal its host", o.Signal, false},
		{"start a process", o.Start, fork},
		{"listen where it should", o.Listen, true},
	} {
		switch {
		case a.failure == "" && !a.allowed:
			return errors.New("the process could " + a.what)
		case a.failure != "" && a.allowed:
			return fmt.Errorf("the process could not %s: %s", a.what, a.failure)
		}
	}
	return nil
}
