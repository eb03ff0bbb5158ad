package sdktest_test

import (
	"testing"

	"github.com/parhost/parhost/plugins/reduce"
	"github.com/parhost/parhost/plugins/sleep"
	"github.com/parhost/parhost/plugins/sqrt"
	"github.com/parhost/parhost/sdk"
	"github.com/parhost/parhost/sdk/sdktest"
)

func TestTheBuiltInWorkloadsKeepTheirPromises(t *testing.T) {
	for _, w := range []sdk.AnyWorkload{reduce.Workload, sleep.Workload, sqrt.Workload} {
		t.Run(w.Manifest().Name, func(t *testing.T) { sdktest.Check(t, w) })
	}
}
