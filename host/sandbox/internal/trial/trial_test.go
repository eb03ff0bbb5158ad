package trial_test

import (
	"context"
	"testing"
	"time"

	"github.com/parhost/parhost/host/sandbox/internal/trial"
)

// Without walls each attempt succeeds, so a failed attempt means a wall and not a mistake of the trial.
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

// Judge accepts a process that met every wall, and names each missing wall. It also names what a policy allows and the process could not do.
func TestJudge(t *testing.T) {
	met := trial.Outcome{Read: "EPERM", Write: "EPERM", Connect: "EPERM", Signal: "EPERM", Start: "EPERM"}
	for name, c := range map[string]struct {
		network, fork bool
		change        func(o *trial.Outcome)
		want          string
	}{
		"all walls":             {change: func(*trial.Outcome) {}},
		"read":                  {change: func(o *trial.Outcome) { o.Read = "" }, want: "the process could read a file of its host"},
		"write":                 {change: func(o *trial.Outcome) { o.Write = "" }, want: "the process could write to a folder of its host"},
		"connect":               {change: func(o *trial.Outcome) { o.Connect = "" }, want: "the process could connect to its host"},
		"signal":                {change: func(o *trial.Outcome) { o.Signal = "" }, want: "the process could signal its host"},
		"start":                 {change: func(o *trial.Outcome) { o.Start = "" }, want: "the process could start a process"},
		"listen":                {change: func(o *trial.Outcome) { o.Listen = "EACCES" }, want: "the process could not listen where it should: EACCES"},
		"network that is open":  {network: true, change: func(o *trial.Outcome) { o.Connect = "" }},
		"network that is not":   {network: true, change: func(*trial.Outcome) {}, want: "the process could not connect to its host: EPERM"},
		"starting that is open": {fork: true, change: func(o *trial.Outcome) { o.Start = "" }},
		"starting that is not":  {fork: true, change: func(*trial.Outcome) {}, want: "the process could not start a process: EPERM"},
	} {
		o := met
		c.change(&o)
		got := ""
		if err := o.Judge(c.network, c.fork); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
