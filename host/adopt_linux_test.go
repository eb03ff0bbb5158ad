package host_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
)

const (
	orphanItems  = 300
	orphansEach  = 2
	adoptionPIDs = "200" // less than the orphans, and three times what host, guard and workers have
)

func init() {
	// The workload starts processes that end by themselves after their parent has ended.
	systemOrders["orphans"] = func(o order) (string, error) {
		out, err := exec.Command("sh", "-c", strings.Repeat("(exit 0) & ", o.N)+"exit 0").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return "", err
	}
	// pid 1 runs items that leave orphans, and says how many failed and how many zombies there were at the most, and with the pool idle.
	hosts["pid 1"] = func() {
		for _, m := range []struct {
			target, kind string
			flags        uintptr
		}{{"/", "", unix.MS_REC | unix.MS_PRIVATE}, {"/proc", "proc", 0}} {
			if err := unix.Mount("none", m.target, m.kind, m.flags, ""); err != nil {
				say("unable:", err)
				return
			}
		}
		p := mustOpen(host.Config{Workload: chaos, Workers: 2})
		defer p.Close()
		failed, most := 0, 0
		for range orphanItems {
			if _, err := value(typed[order, string](p).Do(context.Background(), order{Do: "orphans", N: orphansEach})); err != nil {
				fmt.Fprintln(os.Stderr, err)
				failed++
			}
			most = max(most, zombies())
		}
		// Reaping does not take the exit status of a process that the program itself started and waits for.
		var lost int
		for range 20 {
			if err := exec.Command("sh", "-c", "exit 5").Run(); err == nil || err.Error() != "exit status 5" {
				lost++
			}
		}
		say("failed", failed, "most", most, "lost", lost)
		for deadline := time.Now().Add(10 * time.Second); zombies() > 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			continue
		}
		say("left", zombies())
	}
}

// zombies counts the children of pid 1 that nobody has reaped.
func zombies() int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	n := 0
	for _, file := range stats {
		stat, _ := os.ReadFile(file)
		if bytes.Contains(stat, []byte(") Z 1 ")) {
			n++
		}
	}
	return n
}

// A container without an init gives its orphans to the host.
func TestAHostThatIsPID1ReapsWhileItRuns(t *testing.T) {
	for name, limit := range map[string]string{"": "", "with few processes": adoptionPIDs} {
		t.Run("container "+name, func(t *testing.T) {
			cmd := hostCommand(t, "pid 1")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
			if os.Geteuid() != 0 {
				cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
				cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
				cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
			}
			if limit != "" {
				group, err := newGroup(t, []groupLimit{{"/sys/fs/cgroup/pids", "pids.max", limit}, {"/sys/fs/cgroup", "pids.max", limit}})
				if err != nil {
					t.Skipf("no cgroup with a limit of processes can be made here: %v", err)
				}
				// The shell becomes the host: it is pid 1.
				cmd.Args = []string{"sh", "-c", `echo $$ > "$0" && exec "$1"`, filepath.Join(group, "cgroup.procs"), cmd.Path}
				cmd.Path = "/bin/sh"
			}
			out, err := cmd.Output()
			if cmd.ProcessState == nil {
				t.Skipf("no pid namespace can be made here: %v", err)
			}
			if strings.HasPrefix(string(out), "unable:") {
				t.Skipf("no /proc can be mounted in a pid namespace here: %s", out)
			}
			var failed, most, lost, left int
			if _, scanned := fmt.Sscanf(string(out), "failed %d most %d lost %d\nleft %d\n", &failed, &most, &lost, &left); err != nil || scanned != nil {
				t.Fatalf("a host that is pid 1: got %q, %v (%v)", out, err, scanned)
			}
			if failed > 0 || most > orphanItems*orphansEach/4 || lost > 0 || left > 0 {
				t.Errorf("got %d failed items, %d zombies at the most and %d in the end, %d lost states of the program's own children, want none, few, none and none",
					failed, most, left, lost)
			}
		})
	}
}
