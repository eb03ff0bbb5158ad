//go:build unix

package host_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
)

// daemons are the ways in which a process leaves its worker.
var daemons = []string{"with its environment", "bare"}

// daemon starts a process in a session of its own whose parent ends at once, as daemons do, and returns its number
// and this one's. If how says "bare", it gets nothing of this process's environment.
func daemon(how string) (string, error) {
	exe, err := self()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(exe)
	cmd.Env = []string{daemonEnv + "=fork", raceKey + "=" + raceValue, selfEnv + "=" + exe}
	if how != "bare" {
		cmd.Env = append(os.Environ(), cmd.Env...)
	}
	cmd.Stderr = os.Stderr
	pid, err := cmd.Output()
	return fmt.Sprintf("%s %d", pid, os.Getpid()), err
}

// self is the program that a worker may start: this one.
func self() (string, error) {
	if path := os.Getenv(selfEnv); path != "" {
		return path, nil
	}
	return os.Executable()
}

// beDaemon is a part in the life of a daemon: the parent of one, or itself.
func beDaemon(part string) {
	switch part {
	case "fork":
		exe, err := self()
		if err != nil {
			panic(err)
		}
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), daemonEnv+"=sleep")
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		_, _ = fmt.Fprint(os.Stdout, cmd.Process.Pid)
	case "sleep":
		time.Sleep(10 * time.Minute) // far longer than any test
	default:
		systemDaemons[part]()
	}
}

// systemDaemons are those that not every system knows.
var systemDaemons = map[string]func(){}

// hostsWithoutGuard are hosts that begin before sdk.ServeChild is called.
var hostsWithoutGuard = map[string]func(){"unguarded": haveOrphans, "of itself": hostItself}

// haveOrphans is a host whose workers have daemons: it says who they all are, and waits for its end.
func haveOrphans() {
	p := mustOpen(host.Config{Workload: chaos, Workers: 2})
	for _, how := range daemons {
		pids, err := value(typed[order, string](p).Do(context.Background(), order{Do: "daemon", S: how}))
		if err != nil {
			panic(err)
		}
		pid, _, _ := strings.Cut(pids, " ")
		say("daemon", pid)
	}
	for _, w := range p.Workers() {
		say("worker", w.PID)
	}
	say("ready")
	_, _ = value(typed[order, string](p).Do(context.Background(), order{Do: "sleep", N: 600_000}))
}

// A worker that has ended is gone, even if somebody else holds its connection, as a child does that it has started without a thought.
func TestAnInheritedConnectionDoesNotHoldUpAWorkersEnd(t *testing.T) {
	for _, inline := range []bool{false, true} {
		t.Run(fmt.Sprintf("inline %v", inline), func(t *testing.T) {
			p := open(t, host.Config{Workload: chaos, Workers: 1, Inline: inline})
			within(t, "Map with a worker that leaves its connection to somebody", 10*time.Second, func() {
				got, err := typed[order, string](p).Map(t.Context(), orders(100, map[int]order{50: {Do: "bequeath", N: 3}}))
				errs := checkOthers(t, "Map", got, err)
				if e := errs[50]; len(errs) != 1 || e == nil || e.Kind != host.KindCrashed || e.ExitCode != 3 {
					t.Errorf("got the failures %v, want that of item 50 by exit code 3", errs)
				}
			})
		})
	}
}
