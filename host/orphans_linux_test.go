package host_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
)

// leave lets a worker of p leave a daemon behind, and returns the process ids of both.
func leave(t *testing.T, p *host.Pool, how string) (daemon, worker int) {
	t.Helper()
	numbers, err := value(typed[order, string](p).Do(t.Context(), order{Do: "daemon", S: how}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(numbers, &daemon, &worker); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			_ = unix.Kill(daemon, unix.SIGKILL)
		}
	})
	return daemon, worker
}

func TestADaemonEndsWithThePool(t *testing.T) {
	for name, end := range map[string]func(p *host.Pool) error{
		"Close":    (*host.Pool).Close,
		"Shutdown": func(p *host.Pool) error { return p.Shutdown(context.Background()) },
	} {
		for _, how := range daemons {
			for _, age := range []string{"young", "old"} {
				t.Run(name+" of a pool that is "+age+", "+how, func(t *testing.T) {
					p := open(t, host.Config{Workload: chaos, Workers: 2})
					pid, _ := leave(t, p, how)
					if age == "old" {
						opened := time.Now()
						poll(t, "the pool's age", func() bool { return time.Since(opened) > 300*time.Millisecond })
					}
					if err := end(p); err != nil {
						t.Fatal(err)
					}
					waitGone(t, "a daemon after the pool's end", pid, 0)
				})
			}
		}
	}
}

func TestADaemonEndsWithItsWorker(t *testing.T) {
	for _, how := range daemons {
		t.Run(how, func(t *testing.T) {
			p := open(t, host.Config{Workload: chaos, Workers: 1})
			pid, _ := leave(t, p, how)
			_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "kill"}))
			_ = itemError(t, "Do of kill", err, host.KindCrashed)
			waitGone(t, "a daemon whose worker crashed", pid, time.Second)
		})
	}
}

func TestADaemonEndsWithAWorkerThatIsReplaced(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 1, MaxItems: 1})
	pid, _ := leave(t, p, "")
	waitGone(t, "a daemon of a worker that was replaced", pid, 2*time.Second)
}

func TestADaemonEndsWithAWorkerThatIsKilledForItsTime(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 1, ItemTimeout: time.Second, Grace: 50 * time.Millisecond})
	pid, _ := leave(t, p, "")
	_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "stubborn"}))
	_ = itemError(t, "Do of stubborn", err, host.KindTimeout)
	waitGone(t, "a daemon of a worker that held an item too long", pid, time.Second)
}

// What another worker has started is none of the dead one's, in its own pool or in another.
func TestADaemonOfAWorkerThatLivesIsLeftAlone(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 2})
	mine, dead := leave(t, p, "")
	gate := t.TempDir() + "/gate"
	busy := typed[order, string](p).Start(t.Context(), order{Do: "await", S: gate}) // so that the next item goes to another worker
	waitFile(t, gate)
	theirs, alive := leave(t, p, "")
	removeWhenThere(t, gate)
	if _, err := value(busy.Wait(t.Context())); err != nil || alive == dead {
		t.Fatalf("two items at once: got process %d for one and %d, %v for the other", alive, dead, err)
	}
	strangers, _ := leave(t, open(t, host.Config{Workload: chaos, Workers: 1}), "")
	if err := unix.Kill(dead, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitGone(t, "the dead worker's daemon", mine, time.Second)
	for who, pid := range map[string]int{"another worker": alive, "another worker's daemon": theirs, "another pool's daemon": strangers} {
		if fd, err := unix.PidfdOpen(pid, 0); err != nil {
			t.Errorf("%s: got %v, want it alive", who, err)
		} else if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100); n > 0 || unix.Close(fd) != nil {
			t.Errorf("%s is dead", who)
		}
	}
}

// victim is a host that is going to be killed.
type victim struct {
	cmd     *exec.Cmd
	dir     string // for its temporary files
	workers []int
	daemons []int
}

func startVictim(t *testing.T, role string) *victim {
	t.Helper()
	v := &victim{cmd: hostCommand(t, role)}
	for _, kv := range v.cmd.Env {
		if dir, ok := strings.CutPrefix(kv, "TMPDIR="); ok {
			v.dir = dir
		}
	}
	stdout, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(stdout); s.Scan() && s.Text() != "ready"; {
		role, number, _ := strings.Cut(s.Text(), " ")
		pid, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("the host said %q", s.Text())
		}
		if role == "worker" {
			v.workers = append(v.workers, pid)
		} else {
			v.daemons = append(v.daemons, pid)
		}
	}
	if len(v.workers) != 2 || len(v.daemons) != 2 {
		t.Fatalf("got %+v, want two workers and two daemons", v)
	}
	return v
}

// end kills the host, and waits for all of its processes to be gone.
func (v *victim) end(t *testing.T) {
	t.Helper()
	if err := v.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = v.cmd.Wait()
	killed := time.Now()
	for _, pid := range slices.Concat(v.workers, v.daemons) {
		waitGone(t, "a process of a host that was killed", pid, time.Until(killed.Add(time.Second)))
	}
}

func TestADaemonEndsWithAHostThatIsKilled(t *testing.T) {
	for _, role := range []string{"guarded", "unguarded"} {
		t.Run(role, func(t *testing.T) {
			v := startVictim(t, role)
			if role == "guarded" {
				waitGuard(t, v.cmd.Process.Pid)
			}
			v.end(t)
		})
	}
}

func TestAStoppedWorkerEndsWithAHostThatIsKilled(t *testing.T) {
	for _, role := range []string{"guarded", "unguarded"} {
		t.Run(role, func(t *testing.T) {
			v := startVictim(t, role)
			if role == "guarded" {
				waitGuard(t, v.cmd.Process.Pid)
			}
			for _, pid := range v.workers {
				stop(t, pid)
			}
			v.end(t)
		})
	}
}

// Workers that are gone end nothing, and a host that is stopped neither.
func TestTheGuardEndsWhatNobodyElseCan(t *testing.T) {
	for _, state := range []string{"running", "stopped"} {
		t.Run("guard "+state, func(t *testing.T) {
			v := startVictim(t, "guarded")
			guard := waitGuard(t, v.cmd.Process.Pid)
			if state == "stopped" {
				stop(t, guard)
			}
			stop(t, v.cmd.Process.Pid)
			for _, pid := range v.workers {
				if err := unix.Kill(pid, unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			v.end(t)
			waitGone(t, "the guard of a host that was killed", guard, time.Second)
			if left, err := filepath.Glob(filepath.Join(v.dir, "*")); err != nil || len(left) > 0 {
				t.Errorf("files of a host that was killed: got %q, %v, want none", left, err)
			}
		})
	}
}

func TestTheGuardGoesWithThePool(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 1})
	guard := waitGuard(t, os.Getpid())
	if err := unix.Kill(guard, unix.SIGTERM); err != nil { // as service managers send it to all
		t.Fatal(err)
	}
	if _, err := value(typed[order, string](p).Do(t.Context(), order{Do: "echo"})); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(guard, 0); err != nil {
		t.Errorf("the guard after SIGTERM: got %v, want it alive", err)
	}
	p.Close()
	if err := unix.Kill(guard, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the guard after Close: got %v, want that there is no such process", err)
	}
}

func TestAGuardThatIsKilledIsReplaced(t *testing.T) {
	var log bytes.Buffer
	p := open(t, host.Config{Workload: chaos, Workers: 1, Logger: hclog.New(&hclog.LoggerOptions{Output: &log})})
	first := waitGuard(t, os.Getpid())
	if err := unix.Kill(first, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitGone(t, "a guard that was killed", first, time.Second)
	if second := waitGuard(t, os.Getpid()); second == first {
		t.Errorf("got the guard %d again, want another", second)
	}
	p.Close()
	if !strings.Contains(log.String(), "guard was killed") {
		t.Errorf("got the log %q, want a word about the guard", log.String())
	}
}

// A guard that held what a worker has would keep readers waiting for an end that does not come.
func TestAGuardHoldsNothingOfItsHost(t *testing.T) {
	_ = open(t, host.Config{Workload: chaos, Workers: 2})
	guard := waitGuard(t, os.Getpid())
	own := map[string]bool{} // what this process keeps to itself; the guard has what whoever started the tests gave to everybody
	for fd, target := range descriptors(t, os.Getpid()) {
		info, _ := os.ReadFile("/proc/self/fdinfo/" + fd)
		_, after, _ := strings.Cut(string(info), "flags:\t")
		line, _, _ := strings.Cut(after, "\n")
		flags, _ := strconv.ParseUint(line, 8, 64)
		own[target] = own[target] || flags&unix.O_CLOEXEC != 0
	}
	held := descriptors(t, guard)
	if target := held["3"]; !strings.HasPrefix(target, "pipe:") || !own[target] {
		t.Errorf("got %q as descriptor 3, want a pipe of this process", target)
	}
	delete(held, "3")
	for fd, target := range held {
		if own[target] {
			t.Errorf("descriptor %s is the host's %s", fd, target)
		}
	}
}

// descriptors returns what a process has open: pipes, sockets and memory, by number.
func descriptors(t *testing.T, pid int) map[string]string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]string{}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(dir, fd.Name()))
		if err == nil && (strings.HasPrefix(target, "pipe:") || strings.HasPrefix(target, "socket:") || strings.HasPrefix(target, "/memfd:")) {
			open[fd.Name()] = target
		}
	}
	return open
}

// stop stops a process, which need not be a child.
func stop(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	poll(t, "the process to stop", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return bytes.Contains(stat, []byte(") T "))
	})
}

// waitGuard waits for a host to have a guard that is one already, and returns its process id.
func waitGuard(t *testing.T, parent int) int {
	t.Helper()
	guard := 0
	poll(t, "a guard", func() bool {
		children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
		for _, list := range children {
			text, _ := os.ReadFile(list)
			for child := range strings.FieldsSeq(string(text)) {
				command, _ := os.ReadFile("/proc/" + child + "/cmdline")
				status, _ := os.ReadFile("/proc/" + child + "/status")
				if string(command) == "parhost-guard\x00" && ignores(status, unix.SIGTERM) {
					guard, _ = strconv.Atoi(child)
					return true
				}
			}
		}
		return false
	})
	return guard
}

// ignores reports whether a process ignores a signal, given its status.
func ignores(status []byte, signal unix.Signal) bool {
	_, after, _ := bytes.Cut(status, []byte("\nSigIgn:\t"))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	mask, _ := strconv.ParseUint(string(line), 16, 64)
	return mask&(1<<(signal-1)) != 0
}

// poll waits for a state that nobody tells of.
func poll(t *testing.T, what string, there func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(2 * time.Millisecond); !there(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", 20*time.Second, what)
		}
	}
}
