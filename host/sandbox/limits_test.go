//go:build linux

package sandbox_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/protocol"
)

// nowhere is a cgroup that does not exist.
const nowhere = "parhost-nowhere"

// counts reports whether cgroups can enforce limits of a controller here: memory, pids or cpu. Root always has cgroups; other users may have some of
// their own.
func counts(t *testing.T, controller string) bool {
	t.Helper()
	_, err := sandbox.Controller(controller)
	if err != nil && os.Geteuid() == 0 {
		t.Fatalf("root has no cgroups for %s: %v", controller, err)
	}
	return err == nil
}

// A worker that uses more memory than its limit is killed, and Death says so.
func TestMemoryLimit(t *testing.T) {
	levels(t, func(t *testing.T, level sandbox.Level) {
		b := policyBox(t, sandbox.Policy{Level: level, MemoryBytes: 64 << 20})
		if text, d := start(t, b, nil, "memory", "16").rest(); strings.TrimSpace(text) != "16" {
			t.Errorf("16 MiB of 64: got %q and %v, want 16", text, d)
		}
		w := start(t, b, []string{"GOMEMLIMIT=off"}, "memory", "200")
		text, d := w.rest()
		if d.Cause != protocol.CauseOutOfMemory {
			t.Errorf("200 MiB of 64: got %q and %v, want out_of_memory", text, d)
		}
		if u := w.launch.Counters(); u.OutOfMemory == 0 || u.MemoryPeak < 60<<20 || u.MemoryPeak > 65<<20 {
			t.Errorf("got %+v, want a kill for want of memory at 64 MiB", u)
		}
		// A kill by the host itself is not reported as out of memory.
		if d := w.launch.Death(w.cmd.ProcessState, true); d.Cause != protocol.CauseSignal {
			t.Errorf("killed by the host: got %v, want signal", d)
		}
	})
}

// Without a cgroup, the memory limit is enforced by RLIMIT_DATA and a watch.
func TestMemoryLimitWithoutCgroup(t *testing.T) {
	levels(t, func(t *testing.T, level sandbox.Level) {
		b := policyBox(t, sandbox.Policy{Level: level, MemoryBytes: 256 << 20, CgroupParent: nowhere})
		if text, d := start(t, b, nil, "memory", "100").rest(); strings.TrimSpace(text) != "100" {
			t.Errorf("100 MiB of 256: got %q and %v, want 100", text, d)
		}
		w := start(t, b, []string{"GOMEMLIMIT=off"}, "memory", "400")
		if text, d := w.rest(); d.Code != 2 || !strings.Contains(w.stderr.String(), "memory") {
			t.Errorf("400 MiB of 256: got %q, %v and %q, want an end for want of memory", text, d, w.stderr)
		}
		ways := []string{"written", "stretched", "headless", "tables"}
		if level == sandbox.Off && os.Geteuid() == 0 {
			ways = append(ways, "crowded")
		}
		for _, how := range ways {
			if text, d := start(t, b, nil, how, "400").rest(); d.Cause != protocol.CauseOutOfMemory {
				t.Errorf("400 MiB of 256, %s: got %q and %v, want out_of_memory", how, text, d)
			}
		}
	})
}

// A plugin without walls that may write to cgroups can leave its own, and so its limits. It is killed for that.
func TestAWorkerThatLeavesItsCgroupIsKilled(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the topmost cgroups are root's")
	}
	folders, err := sandbox.CgroupFolders()
	if err != nil {
		t.Fatal(err)
	}
	var procs []string
	for _, folder := range folders {
		procs = append(procs, folder+"/cgroup.procs")
	}
	for name, c := range map[string]struct {
		policy sandbox.Policy
		mib    string
		want   []protocol.Cause
	}{
		"and takes memory": {sandbox.Policy{MemoryBytes: 64 << 20}, "400", []protocol.Cause{protocol.CauseOutOfMemory, protocol.CauseEscape}},
		"with memory":      {sandbox.Policy{MemoryBytes: 64 << 20}, "1", []protocol.Cause{protocol.CauseEscape}},
		"with processes":   {sandbox.Policy{PIDs: 40}, "1", []protocol.Cause{protocol.CauseEscape}},
	} {
		w := start(t, policyBox(t, c.policy), nil, append([]string{"leave", c.mib}, procs...)...)
		if left := w.line(); left == "0" {
			t.Fatalf("%s: it could not leave its cgroups", name)
		}
		if text, d := w.rest(); !slices.Contains(c.want, d.Cause) {
			t.Errorf("%s: got %q and %v, want %v", name, text, d, c.want)
		}
	}
	if text, d := start(t, policyBox(t, sandbox.Policy{MemoryBytes: 64 << 20}), nil, "headless", "1").rest(); d.Code != 0 {
		t.Errorf("one whose first thread has ended: got %q and %v, want success", text, d)
	}
}

// Open refuses a limit that nothing can enforce.
func TestLimitsThatCannotBeHeld(t *testing.T) {
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	for name, policy := range map[string]sandbox.Policy{
		"CPUs":          {CPUs: 1},
		"CPUs, strict":  {Level: sandbox.Strict, CPUs: 1},
		"PIDs":          {PIDs: 100},
		"little memory": {MemoryBytes: 64 << 20},
	} {
		policy.CgroupParent = nowhere
		b, err := sandbox.OpenWithout(policy, plugin)
		if err == nil {
			b.Close()
		}
		notSupported(t, name, err)
	}
}

// Threads and processes are refused at the limit, and Death reports the cause.
func TestPIDsLimit(t *testing.T) {
	levels(t, func(t *testing.T, level sandbox.Level) {
		for command, policy := range map[string]sandbox.Policy{
			"threads": {Level: level, PIDs: 40},
			"forks":   {Level: level, PIDs: 40, AllowFork: level > sandbox.Off},
		} {
			w := start(t, policyBox(t, policy), nil, command)
			text, d := w.rest()
			want := protocol.CausePIDs
			if !counts(t, "pids") {
				want = protocol.CauseExit // RLIMIT_NPROC limits processes but does not count refusals
			}
			if d.Cause != want || d.Code == 0 {
				t.Errorf("%s: got %q and %v, want %s", command, text, d, want)
			}
			if command == "forks" {
				count, outcome, _ := strings.Cut(strings.TrimSpace(text), "\t")
				if n, err := strconv.Atoi(count); err != nil || n >= 40 || n < 20 || outcome != "EAGAIN" {
					t.Errorf("forks: got %q, want EAGAIN before 40", text)
				}
			}
		}
	})
}

// A worker gets its share of the CPUs and no more.
func TestCPULimit(t *testing.T) {
	levels(t, func(t *testing.T, level sandbox.Level) {
		w := start(t, policyBox(t, sandbox.Policy{Level: level, CPUs: 0.05}), nil, "spin")
		begun := time.Now()
		text, d := w.rest()
		used, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if most := time.Since(begun)/20 + 200*time.Millisecond; err != nil || time.Duration(used) > most {
			t.Errorf("four threads that spin: got %q and %v, want at most %v", text, d, most)
		}
		if u := w.launch.Counters(); u.Throttled == 0 {
			t.Errorf("got %+v, want periods in which it was throttled", u)
		}
	})
}

// A plugin is told its limits in variables, because its libraries cannot find them out.
func TestLimitsAreTold(t *testing.T) {
	policy := sandbox.Policy{Level: sandbox.Off, MemoryBytes: 1 << 30}
	want := map[string]string{"env GOMEMLIMIT": strconv.Itoa(1 << 30 / 10 * 9), "env GOMAXPROCS": "4"}
	if counts(t, "cpu") {
		policy.CPUs = 1.5
		want["env GOMAXPROCS"] = "2"
	}
	got := start(t, policyBox(t, policy), []string{"GOMAXPROCS=4"}, "status").table()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("got %s %q, want %q", name, got[name], value)
		}
	}
}
