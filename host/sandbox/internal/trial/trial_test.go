package trial_test

import (
	"context"
	"testing"
	"time"

	"github.com/parhost/parhost/host/sandbox/internal/trial"
)

// Without walls each attempt succeeds: a trial that reports a failure has met a wall, and not its own fault.
func TestWithoutWallsEverythingSucceeds(t *testing.T) {
	s, err := trial.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cmd, err := s.Command()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := trial.Wait(ctx, cmd); err != nil {
		t.Fatal(err)
	}
	o, err := s.Outcome()
	if err != nil {
		t.Fatal(err)
	}
	if o != (trial.Outcome{}) {
		t.Errorf("got the outcome %+v, want every attempt to succeed", o)
	}
}
