package sdktest

import (
	"encoding/json"
	"testing"

	"github.com/parhost/parhost/internal/conform"
	"github.com/parhost/parhost/sdk"
)

// Check holds a workload to the promises of a plugin, each in a subtest of its own. It uses the examples of the manifest and
// items, which may be JSON texts ([json.RawMessage]) or values that encode to one, and runs them many times.
//
// How long it takes depends on the items: quick ones are run by the thousand, slow ones a few times each.
func Check(t *testing.T, w *sdk.Workload, items ...any) {
	t.Helper()
	texts := make([]json.RawMessage, len(items))
	for i, item := range items {
		var err error
		if texts[i], err = json.Marshal(item); err != nil {
			t.Fatalf("item %d: %v", i, err)
		}
	}
	report, err := conform.Run(t.Context(), starter(t, w), 0, texts...)
	if err != nil {
		t.Fatalf("workload %q cannot be checked: %v", w.Manifest().Name, err)
	}
	for _, c := range report.Checks {
		t.Run(c.Name, func(t *testing.T) {
			switch c.Status {
			case conform.Failed:
				t.Errorf("%s: %s", c.Promise, c.Outcome)
			case conform.Skipped:
				t.Skip(c.Outcome)
			default:
				t.Log(c.Outcome)
			}
		})
	}
}
