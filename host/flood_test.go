//go:build linux

package host_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// cpuTime is what this process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// Who writes without end is killed for it, after no more than the limit; what others do goes on meanwhile, and the host hardly notices.
func TestAFloodEndsTheWorkerAndItsItemAlone(t *testing.T) {
	for name, do := range map[string]string{"stderr": "pour", "stdout": "pour out"} {
		t.Run(name, func(t *testing.T) {
			atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
				const most = 4 << 20
				mark, env := newMark()
				p := open(t, host.Config{Workload: chaos, Sandbox: policy, MaxOutputBytes: most, Env: []string{env}})
				used, begun := cpuTime(t), time.Now()
				within(t, "Map with a flood", 20*time.Second, func() {
					got, err := typed[order, string](p).Map(t.Context(), orders(300, map[int]order{100: {Do: do}}))
					errs := checkOthers(t, "Map with a flood", got, err)
					if len(errs) != 1 || errs[100] == nil {
						t.Fatalf("got %v, want item 100 alone failed", errs)
					}
					if e := errs[100]; e.Kind != host.KindCrashed || e.Cause != host.CauseFlood || !strings.Contains(e.Message, "flooded its output: more than 4194304 bytes (Config.MaxOutputBytes)") {
						t.Errorf("got %+v, want crashed by its flood", e)
					}
				})
				t.Logf("took %v, of which the host was busy for %v", time.Since(begun), cpuTime(t)-used)
				within(t, "Close", 3*time.Second, func() { p.Close() })
				checkGone(t, mark)
			})
		})
	}
}
