package sdktest

import (
	"encoding/json"
	"testing"

	"github.com/parhost/parhost/internal/conform"
	"github.com/parhost/parhost/sdk"
)

// Check tests that a workload keeps the promises of a plugin, each promise in its own subtest. It runs the examples of the manifest and items many
// times. An item is a JSON text ([json.RawMessage]) or a value that encodes to JSON; Check ends the test if an item does not encode or the workload
// cannot be started.
//
// How long it takes depends on the items: it runs quick items thousands of times and slow items a few times.
func Check(t *testing.T, w sdk.AnyWorkload, items ...any) {
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
