package host_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/sdk"
)

// headlessEnv makes a worker end its first thread and go on with the others.
const headlessEnv = "PARHOST_TEST_HEADLESS"

func init() { // which runs on the first thread
	if os.Getenv(headlessEnv) == "" {
		return
	}
	go sdk.ServeChild(workloads...)
	_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

// A worker does not hide its memory by ending its first thread, whose status tells of none then.
func TestAWorkerWithoutItsFirstThreadIsRetiredByItsMemory(t *testing.T) {
	events := new(recorder)
	open(t, host.Config{Workload: half, MaxRSS: 1, Workers: 1, Env: []string{headlessEnv + "=1"}, Observer: events})
	deadline := time.After(30 * time.Second)
	for tick := time.Tick(10 * time.Millisecond); ; {
		for _, e := range ofKind[host.WorkerEnded](events) {
			if !strings.HasPrefix(e.Reason, "retired: ") || !strings.HasSuffix(e.Reason, "bytes resident, the limit is 1 (Config.MaxRSS)") {
				t.Errorf("a worker ended: %+v, want it retired by Config.MaxRSS", e)
			}
			return
		}
		select {
		case <-tick:
		case <-deadline:
			t.Fatal("no worker was replaced in 30 s")
		}
	}
}

// A plugin that has left the cgroup with its limits is killed, and the error says why.
func TestAnEscapeIsTold(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may write to any cgroup")
	}
	p := open(t, host.Config{Workload: chaos, Workers: 1, Sandbox: sandbox.Policy{PIDs: 200}})
	got, err := typed[order, string](p).Map(t.Context(), orders(3, map[int]order{1: {Do: "leave"}}))
	errs := checkOthers(t, "Map", got, err)
	if e := errs[1]; len(errs) != 1 || e == nil || e.Cause != host.CauseEscape || !strings.Contains(e.Error(), "had left the cgroup") {
		t.Errorf("got %v, want item 1 killed for an escape", errs)
	}
}

// The host itself killed the worker: the item gets no attempt beyond its Retries, as one has whose worker somebody else killed.
func TestAnEscapeIsTheFaultOfItsItem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may write to any cgroup")
	}
	p := open(t, host.Config{Workload: chaos, Workers: 1, RetryAlways: true, Sandbox: sandbox.Policy{PIDs: 200}})
	got, err := typed[order, string](p).Map(t.Context(), orders(1, map[int]order{0: {Do: "leave"}}))
	errs := checkOthers(t, "Map", got, err)
	if e := errs[0]; len(errs) != 1 || e == nil || e.Cause != host.CauseEscape || e.Attempts != 1 || strings.Contains(e.Message, "somebody else") {
		t.Errorf("got %+v, want item 0 killed for an escape at its only attempt", errs[0])
	}
}
