//go:build linux && !race

package host_test

import (
	"math"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
)

// A process that writes as fast as it can takes a small part of its host's time.
func TestAFloodIsReadAtAModestPace(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 1, MaxOutputBytes: math.MaxInt, ItemTimeout: time.Second, Grace: 100 * time.Millisecond})
	for name, do := range map[string]string{"long lines": "pour", "short lines": "babble"} {
		used, begun := cpuTime(t), time.Now()
		_, err := value(typed[order, string](p).Do(t.Context(), order{Do: do}))
		_ = itemError(t, name, err, host.KindTimeout)
		used, took := cpuTime(t)-used, time.Since(begun)
		t.Logf("%s: took %v, of which the host was busy for %v", name, took, used)
		if used > took/2 {
			t.Errorf("%s: the host was busy for %v of %v, want less than half", name, used, took)
		}
	}
}
