package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
)

// The kernel kills with SIGKILL, as others do who mean no item; its own count of such deaths tells them apart.
func TestADeathForWantOfMemoryIsToldFromAKill(t *testing.T) {
	p := open(t, host.Config{Workload: idempotent, Workers: 1})
	pid := p.Workers()[0].PID
	confine(t, pid, 128<<20)
	_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "hoard"}))
	if e := itemError(t, "an item that takes more memory than there is", err, host.KindOutOfMemory); e.Attempts != 1 || e.Signal != "SIGKILL" {
		t.Errorf("got %+v, want out of memory by SIGKILL at the first attempt", e)
	}
	gate := filepath.Join(t.TempDir(), "gate")
	h := typed[order, string](p).Start(t.Context(), order{Do: "hold once", S: gate})
	waitFile(t, gate)
	kill(t, strconv.Itoa(h.PID()))
	if got, err := value(h.Wait(t.Context())); err != nil || got != "again" {
		t.Errorf("an item whose next worker was killed by somebody: got %q, %v, want its result", got, err)
	}
}

// confine bounds the memory of a process by a control group of its own, of either version.
func confine(t *testing.T, pid, bytes int) {
	t.Helper()
	name := fmt.Sprintf("parhost-test-%d", pid)
	for dir, limit := range map[string]string{"/sys/fs/cgroup/memory/" + name: "memory.limit_in_bytes", "/sys/fs/cgroup/" + name: "memory.max"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() {
			for range 1000 {
				if os.Remove(dir) == nil {
					return
				}
				time.Sleep(time.Millisecond) // until the kernel has let go of its process
			}
			t.Errorf("control group %s cannot be removed", dir)
		})
		if _, err := os.Stat(filepath.Join(dir, limit)); err != nil { // an ordinary folder, which bounds nothing
			continue
		}
		if os.WriteFile(filepath.Join(dir, limit), []byte(strconv.Itoa(bytes)), 0o600) != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600); err == nil {
			return
		}
	}
	t.Skip("no control group for memory can be made here")
}
