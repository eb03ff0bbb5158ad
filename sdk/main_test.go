package sdk_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/parhost/parhost/sdk"
)

// The test binary is also a plugin, to test what happens when a person starts one by hand.
func TestMain(m *testing.M) {
	if os.Getenv("PARHOST_TEST_SERVE") != "" {
		sdk.Serve(upper)
	}
	sdk.ServeChild(upper)
	goleak.VerifyTestMain(m)
}
