package host_test

import (
	"strings"
	"testing"
)

// The kernel sends SIGKILL at the hard limit of CPU time, and the item that used the time is to blame.
func TestADeathAtTheLimitOfCPUTimeNamesTheLimit(t *testing.T) {
	cmd := under(t, "ulimit -t 2", hostCommand(t, "fragile"))
	cmd.Env = append(cmd.Env, "FRAGILE_MODE=process", "FRAGILE_ITEM=spin")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the host: got %v: %s", err, out)
	}
	if got := string(out); !strings.Contains(got, "of CPU time, the limit is 2s (ulimit -t)") || strings.Contains(got, "somebody else") {
		t.Errorf("got %q, want the limit of CPU time", got)
	}
}
