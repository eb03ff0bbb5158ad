package host_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
)

func init() {
	hosts["counter"] = func() {
		n, err := host.CountWorkers(-1)
		say(n, err)
	}
}

// A container that may use half of a CPU gets one worker.
func TestAQuotaOfLessThanACPUIsOneWorker(t *testing.T) {
	group, err := quotaGroup(t)
	if err != nil {
		t.Skipf("no cgroup with a quota can be made here: %v", err)
	}
	cmd := hostCommand(t, "counter")
	inside := exec.Command("sh", "-c", `echo $$ > "$0" && exec "$1"`, filepath.Join(group, "cgroup.procs"), cmd.Path)
	inside.Env = cmd.Env
	out, err := inside.CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != "1 <nil>" {
		t.Errorf("CountWorkers(-1) with half of a CPU: got %q, %v, want 1", got, err)
	}
}

// quotaGroup makes a cgroup of half of a CPU.
func quotaGroup(t *testing.T) (string, error) {
	t.Helper()
	return newGroup(t, []groupLimit{{"/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "50000"}, {"/sys/fs/cgroup", "cpu.max", "50000 100000"}})
}

// groupLimit is a limit of a cgroup that is made in a folder.
type groupLimit struct{ root, file, limit string }

// newGroup makes a cgroup with the first limit that can be set: of version 1, or of version 2 where its root hands out the controller.
func newGroup(t *testing.T, limits []groupLimit) (string, error) {
	t.Helper()
	var failed error
	for _, l := range limits {
		group := filepath.Join(l.root, fmt.Sprintf("parhost-test-%d", os.Getpid()))
		err := os.Mkdir(group, 0o755)
		if err == nil {
			t.Cleanup(func() { _ = os.Remove(group) })
			if err = os.WriteFile(filepath.Join(group, l.file), []byte(l.limit), 0o600); err == nil {
				return group, nil
			}
		}
		failed = err
	}
	return "", failed
}

// When memory runs out the kernel ends workers, and what they started, before their host.
func TestTheKernelPrefersToEndWorkers(t *testing.T) {
	const file = "/proc/self/oom_score_adj"
	own, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, host.Config{Workload: chaos, Workers: 1})
	for _, do := range []string{"badness", "child's badness"} {
		got, err := value(typed[order, string](p).Do(t.Context(), order{Do: do}))
		if err != nil || atoi(t, got) <= atoi(t, string(own)) {
			t.Errorf("%s: got %q, %v, want more than the host's %q", do, got, err, own)
		}
	}
}

func init() {
	const file = "/proc/self/oom_score_adj"
	systemOrders["badness"] = func(order) (string, error) {
		b, err := os.ReadFile(file)
		return string(b), err
	}
	systemOrders["child's badness"] = func(order) (string, error) {
		b, err := exec.Command("cat", file).Output()
		return string(b), err
	}
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
