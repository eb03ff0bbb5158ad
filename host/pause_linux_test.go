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
		_, err := typed[order, string](p).Map(context.Background(), items)
		say("ended", err)
	}
}

func init() {
	// paused ends opens and shuts down a pool whose limits are short.
	hosts["paused ends"] = func() {
		log := os.Getenv("STATE_LOG")
		p, err := host.Open(context.Background(), host.Config{
			Workload: stateful, Mode: host.Mode(os.Getenv("PAUSED_MODE")), Workers: 1, StartTimeout: 2 * time.Second, SetupTimeout: 2 * time.Second, TeardownTimeout: 2 * time.Second,
			Env: []string{"STATE_LOG=" + log, "STATE_SETUP=await", "STATE_TEARDOWN=await"},
		})
		if err == nil {
			err = p.Shutdown(context.Background())
		}
		say("ended", err)
	}
}

// Time in which nothing runs counts for no limit of a set-up or a tear-down.
func TestAPauseEndsNoSetUpAndNoTearDown(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			log := t.TempDir() + "/log"
			cmd := hostCommand(t, "paused ends")
			cmd.Env = append(cmd.Env, "PAUSED_MODE="+string(mode), "STATE_LOG="+log, "STATE_SETUP=await", "STATE_TEARDOWN=await")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for _, what := range []string{"set-up", "tear-down"} {
				path := log + "." + what
				var pid int
				within(t, what, patience, func() {
					for pid == 0 {
						text, _ := os.ReadFile(path)
						_, _ = fmt.Sscan(string(text), &pid)
						<-time.After(10 * time.Millisecond)
					}
				})
				for _, pid := range []int{cmd.Process.Pid, pid} {
					if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
						t.Fatal(err)
					}
				}
				<-time.After(4 * time.Second) // twice the limit
				touch(path + ".go")
				for _, pid := range []int{cmd.Process.Pid, pid} {
					_ = unix.Kill(pid, unix.SIGCONT)
				}
			}
			lines := bufio.NewScanner(out)
			lines.Scan()
			if got := lines.Text(); got != "ended <nil>" {
				t.Errorf("got %q, want no error", got)
			}
			if text, _ := os.ReadFile(log); string(text) != "torn down\n" {
				t.Errorf("got the log %q, want that the worker was torn down", text)
			}
			_ = cmd.Wait()
		})
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
