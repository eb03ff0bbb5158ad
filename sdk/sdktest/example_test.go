package sdktest_test

import (
	"context"
	"math"
	"testing"

	"github.com/parhost/parhost/sdk"
	"github.com/parhost/parhost/sdk/sdktest"
)

// A plugin's package has such a test. Run it with go test, or step through it with dlv test.
func Example() {
	root := sdk.Func("root", func(_ context.Context, x float64) (float64, error) { return math.Sqrt(x), nil }).With(sdk.Manifest{Examples: []any{4}})
	test := func(t *testing.T) {
		sdktest.Check(t, root) // all that the manifest and the protocol promise
		if got := sdktest.Run(t, root, 4, 9); got[0] != 2 || got[1] != 3 {
			t.Errorf("got %v, want [2 3]", got)
		}
		if _, err := sdktest.DoJSON(t, root, `"four"`); err == nil {
			t.Error("an item that is no number: got no error")
		}
	}
	_ = test // go test runs it as TestRoot(t *testing.T)
	// Output:
}
