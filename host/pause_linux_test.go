package host_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
)

func init() {
	// paused runs items far below their limit, and says who runs them, when they have begun, and what came of them.
	hosts["paused"] = func() {
		p := mustOpen(host.Config{Workload: chaos, Mode: host.Mode(os.Getenv("PAUSED_MODE")), Workers: 2, ItemTimeout: time.Second, Grace: 100 * time.Millisecond})
		defer p.Close()
		for _, w := range p.Workers() {
			say("worker", w.PID)
		}
		items := make([]order, 20)
		for i := range items {
			items[i] = order{Do: "sleep", N: 200}
		}
		say("begun")
		_, err := host.Map[order, string](context.Background(), p, items)
		say("ended", err)
	}
}

// A pause of the host, or of the host and its workers together, is no item's fault.
func TestAPauseIsNoItemsFault(t *testing.T) {
	for _, mode := range modes {
		for name, all := range map[string]bool{"the host": false, "all": true} {
			t.Run(string(mode)+", "+name, func(t *testing.T) {
				t.Parallel()
				cmd := hostCommand(t, "paused")
				cmd.Env = append(cmd.Env, "PAUSED_MODE="+string(mode))
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				lines := bufio.NewScanner(out)
				pids := []int{cmd.Process.Pid}
				for lines.Scan() && lines.Text() != "begun" {
					var pid int
					if _, err := fmt.Sscanf(lines.Text(), "worker %d", &pid); err == nil && all {
						pids = append(pids, pid)
					}
				}
				<-time.After(500 * time.Millisecond) // some items have ended, others run
				for _, pid := range pids {
					if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
						t.Fatal(err)
					}
				}
				<-time.After(3 * time.Second)
				for _, pid := range pids {
					_ = unix.Kill(pid, unix.SIGCONT)
				}
				lines.Scan()
				if got := lines.Text(); got != "ended <nil>" {
					t.Errorf("items of 200 ms with a limit of 1 s: got %q, want no error", strings.TrimSpace(got))
				}
				_ = cmd.Wait()
			})
		}
	}
}
