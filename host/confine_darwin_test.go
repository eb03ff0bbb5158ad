package host_test

import (
	"os"
	"slices"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// A Mac has level basic: what other tests skip where there is none must not be skipped here for ever.
func TestConfinedWorkersServeItems(t *testing.T) {
	p := open(t, host.Config{Workload: echoString, Sandbox: policyAt(sandbox.Basic), Workers: 2})
	items := []string{"a", "", "ü", "d"}
	got, err := host.Map[string, string](t.Context(), p, items)
	if err != nil || !slices.Equal(got, items) {
		t.Errorf("got %q and %v, want %q", got, err, items)
	}
	if level, layers := p.Sandbox(); level != sandbox.Basic || !slices.Contains(layers, "seatbelt") {
		t.Errorf("Sandbox: got %v of %v, want basic with seatbelt", level, layers)
	}
}

// The end of a process is seen before its number is given away, and once.
func TestAwaitExitSeesTheEnd(t *testing.T) {
	for _, early := range []bool{false, true} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.StartProcess("/bin/cat", []string{"cat"}, &os.ProcAttr{Files: []*os.File{r, nil, nil}})
		if err != nil {
			t.Fatal(err)
		}
		seen := make(chan bool, 1)
		if early {
			go func() { seen <- host.AwaitExit(p.Pid) }()
		}
		_, _ = r.Close(), w.Close() // which ends it
		if !early {
			go func() { seen <- host.AwaitExit(p.Pid) }()
		}
		if !<-seen {
			t.Errorf("early %v: got false, want the end of the process", early)
		}
		if state, err := p.Wait(); err != nil || !state.Success() {
			t.Errorf("early %v: got %v and %v, want a process that can still be reaped", early, state, err)
		}
	}
}
