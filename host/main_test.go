package host_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/parhost/parhost/plugins/reduce"
	"github.com/parhost/parhost/plugins/sleep"
	"github.com/parhost/parhost/plugins/sqrt"
	"github.com/parhost/parhost/sdk"
)

// The test binary is also the plugin: a child with the host's variables set serves instead of testing.
func TestMain(m *testing.M) {
	sdk.ServeChild(sqrt.Workload, reduce.Workload, sleep.Workload)
	os.Exit(m.Run())
}

var _ = goleak.VerifyNone
