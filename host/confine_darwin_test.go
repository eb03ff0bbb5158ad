package host_test

import (
	"slices"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// A Mac has level basic: what other tests skip where there is none must not be skipped here for ever.
func TestConfinedWorkersServeItems(t *testing.T) {
	p := open(t, host.Config{Workload: echoString, Sandbox: policyAt(sandbox.Basic), Workers: 2})
	items := []string{"a", "", "ü", "d"}
	got, err := typed[string, string](p).Map(t.Context(), items)
	if err != nil || !slices.Equal(got, items) {
		t.Errorf("got %q and %v, want %q", got, err, items)
	}
	if level, layers := p.Sandbox(); level != sandbox.Basic || !slices.Contains(layers, "seatbelt") {
		t.Errorf("Sandbox: got %v of %v, want basic with seatbelt", level, layers)
	}
}
