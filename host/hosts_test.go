//go:build unix

package host_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
)

// hosts are programs with a pool of their own, which the tests start as children because harm comes to them.
var hosts = map[string]func(){
	// reader runs an item that reads stdin, then says what is left for itself.
	"reader": func() {
		p := mustOpen(host.Config{Workload: chaos, Workers: 1})
		defer p.Close()
		got, err := value(typed[order, string](p).Do(context.Background(), order{Do: "stdin"}))
		if err != nil {
			panic(err)
		}
		rest, _ := io.ReadAll(os.Stdin)
		say(fmt.Sprintf("worker %q host %q", got, rest))
	},
	"guarded": haveOrphans,
	// fragile runs items in its own process, one of which does what the environment says.
	"fragile": func() {
		p := mustOpen(host.Config{Workload: chaos, Mode: host.Mode(os.Getenv("FRAGILE_MODE"))})
		defer p.Close()
		_, err := typed[order, string](p).Map(context.Background(), orders(100, map[int]order{50: {Do: os.Getenv("FRAGILE_ITEM"), N: 3}}))
		say("alive", err)
	},
	// cramped opens a pool and prints how much memory it may share with its workers.
	"cramped": func() {
		p := mustOpen(host.Config{Workload: chaos, Workers: 8})
		defer p.Close()
		_, err := typed[order, string](p).Map(context.Background(), orders(2000, nil))
		maps, _ := os.ReadFile("/proc/self/maps")
		shared := int64(0)
		for line := range strings.Lines(string(maps)) {
			var from, to int64
			if strings.Contains(line, "/memfd:parhost-") {
				_, _ = fmt.Sscanf(line, "%x-%x", &from, &to)
				shared += to - from
			}
		}
		say(shared, err)
	},
	// crowd opens a pool with many workers and prints its own number of threads.
	"crowd": func() {
		const workers = 40
		p := mustOpen(host.Config{Workload: chaos, Workers: workers})
		defer p.Close()
		threads, err := os.ReadDir("/proc/self/task")
		say(len(p.Workers()), len(threads), err)
	},
	// scarce asks for more workers than its limit of open files allows, and then for a few.
	"scarce": func() {
		_, err := host.Open(context.Background(), host.Config{Workload: chaos, Workers: 1000})
		say("open:", err)
		p := mustOpen(host.Config{Workload: chaos, Workers: 2})
		defer p.Close()
		say("resize:", p.Resize(1000))
		_, err = typed[order, string](p).Map(context.Background(), orders(10, nil))
		say("few:", err)
	},
	// parent has workers with children, says who they are, and waits for its end.
	"parent": func() {
		p := mustOpen(host.Config{Workload: chaos, Workers: 2, Threads: 2})
		child, err := value(typed[order, string](p).Do(context.Background(), order{Do: "child"}))
		if err != nil {
			panic(err)
		}
		say("child", child)
		for _, w := range p.Workers() {
			say("worker", w.PID)
		}
		say("ready")
		_, _ = typed[order, string](p).Map(context.Background(), []order{{Do: "spin"}, {Do: "stubborn"}, {Do: "sleep", N: 60_000}})
	},
}

// say writes a line on stdout: the tests read it there.
func say(words ...any) { _, _ = fmt.Fprintln(os.Stdout, words...) }

func mustOpen(cfg host.Config) *host.Pool {
	p, err := host.Open(context.Background(), cfg)
	if err != nil {
		panic(err)
	}
	return p
}

// hostCommand is this program as one of the hosts.
func hostCommand(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), hostEnv+"="+name, "TMPDIR="+shortDir(t))
	cmd.Stderr = os.Stderr
	return cmd
}

// under returns the command wrapped in a shell that first sets a limit (ulimit).
func under(t *testing.T, limit string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Args = sh, append([]string{"sh", "-c", limit + ` && exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	return cmd
}

var shortDirs atomic.Int64

// shortDir is a folder whose sockets have paths short enough.
func shortDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("ph%d-%d", os.Getpid(), shortDirs.Add(1)))
	if err := os.Mkdir(dir, 0o711); err != nil { // workers of another user find their own there
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestTheHostsStdinStaysItsOwn(t *testing.T) {
	cmd := hostCommand(t, "reader")
	cmd.Stdin = strings.NewReader("first line\nsecond line\n")
	out, err := cmd.Output()
	if want := "worker \"\" host \"first line\\nsecond line\\n\"\n"; err != nil || string(out) != want {
		t.Errorf("a worker that reads stdin: got %q, %v, want %q", out, err, want)
	}
}

// The other side of the contrast: what a worker process is there for.
func TestACrashOutsideAWorkerProcessTakesTheHostAlong(t *testing.T) {
	for _, mode := range []host.Mode{host.ModeGoroutine, host.ModeSequential} {
		for _, do := range []string{"exit", "kill", "panic elsewhere", "throw", "overflow"} {
			t.Run(fmt.Sprintf("%s, %s", mode, do), func(t *testing.T) {
				cmd := hostCommand(t, "fragile")
				cmd.Env = append(cmd.Env, "FRAGILE_MODE="+string(mode), "FRAGILE_ITEM="+do)
				cmd.Stderr = nil
				out, err := cmd.Output()
				if _, ended := errors.AsType[*exec.ExitError](err); !ended || len(out) > 0 {
					t.Errorf("a host whose item does that: got %q, %v, want it dead", out, err)
				}
			})
		}
	}
}

func TestNothingOutlivesAHostThatIsKilled(t *testing.T) {
	cmd := hostCommand(t, "parent")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids := map[int]string{}
	for s := bufio.NewScanner(stdout); s.Scan() && s.Text() != "ready"; {
		role, number, _ := strings.Cut(s.Text(), " ")
		pid, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("the host said %q", s.Text())
		}
		pids[pid] = role
	}
	if len(pids) != 3 {
		t.Fatalf("got %v, want two workers and a child", pids)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	killed := time.Now()
	for pid, role := range pids {
		waitGone(t, "a "+role+" of a host that was killed", pid, time.Until(killed.Add(time.Second)))
	}
}

// A worker that is stopped does not see that its host is gone.
func TestAStoppedWorkerDoesNotHoldUpClose(t *testing.T) {
	for name, n := range map[string]int{"idle": 0, "with an item": 1, "with more than its pipe holds": 16 << 20} {
		t.Run(name, func(t *testing.T) {
			p := open(t, host.Config{Workload: echoString, Workers: 1})
			pid := p.Workers()[0].PID
			suspend(t, pid)
			result := make(chan error, 1)
			if n > 0 {
				go func() {
					_, err := typed[string, string](p).Map(t.Context(), []string{strings.Repeat("x", n), strings.Repeat("y", n), "z"})
					result <- err
				}()
				for p.Workers()[0].Batches == 0 {
					time.Sleep(time.Millisecond) // until the item is under way
				}
			}
			within(t, "Close with a stopped worker", 3*time.Second, func() { p.Close() })
			waitGone(t, "a stopped worker after Close", pid, time.Second)
			if n > 0 {
				if err := <-result; err == nil {
					t.Error("Map on a pool that was closed: got no error, want one")
				}
			}
		})
	}
}

// The worker died with an item that was on its way to it, and nobody else is to blame.
func TestAnItemThatDidNotBeginIsNotWhatItsWorkerDiedOf(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 1}) // which is not idempotent
	pid := p.Workers()[0].PID
	suspend(t, pid)
	h := typed[order, string](p).Start(t.Context(), order{Do: "echo", S: "here"})
	for ws := p.Workers(); len(ws) == 0 || ws[0].Batches == 0; ws = p.Workers() {
		time.Sleep(time.Millisecond) // until it is on its way
	}
	kill(t, strconv.Itoa(pid))
	if got, err := value(h.Wait(t.Context())); err != nil || got != "here" {
		t.Errorf("an item that had not begun: got %q, %v, want its result", got, err)
	}
}

// suspend stops a worker, and returns when it has stopped: an item takes less time than the signal.
func suspend(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Wait4(pid, nil, unix.WUNTRACED, nil); err != nil {
		t.Fatal(err)
	}
}

func TestAStoppedWorkerDoesNotHoldUpACancel(t *testing.T) {
	p := open(t, host.Config{Workload: echoString, Workers: 1})
	pid := p.Workers()[0].PID
	suspend(t, pid)
	large := strings.Repeat("x", 8<<20)
	within(t, "the end of a stopped worker whose items are canceled", 20*time.Second, func() {
		for ws := p.Workers(); len(ws) > 0 && ws[0].PID == pid; ws = p.Workers() {
			// The worker is ended for what it was sent, and on a busy machine that may be nothing by then.
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if _, err := typed[string, string](p).Map(ctx, []string{large, large, large, large}); err == nil {
				t.Error("Map on a stopped worker: got no error, want the context's")
			}
			cancel()
		}
	})
	if got, err := value(typed[string, string](p).Do(t.Context(), "again")); err != nil || got != "again" {
		t.Errorf("the pool afterwards: got %q, %v", got, err)
	}
}

func TestAStoppedWorkerDoesNotHoldUpTheLimit(t *testing.T) {
	p := open(t, host.Config{Workload: echoString, Workers: 1, ItemTimeout: 50 * time.Millisecond, Grace: 50 * time.Millisecond})
	pid := p.Workers()[0].PID
	suspend(t, pid)
	within(t, "Do with a stopped worker and a limit", 5*time.Second, func() {
		_, err := value(typed[string, string](p).Do(t.Context(), "x"))
		_ = itemError(t, "Do with a stopped worker", err, host.KindTimeout)
	})
	waitGone(t, "a stopped worker that held an item too long", pid, time.Second)
}

// A process that the workload leaves behind holds the worker's stderr, and with it whoever reads that to its end.
func TestWhatAWorkerLeavesBehindIsKilledAndHoldsNothingUp(t *testing.T) {
	for _, s := range []string{"group", "session"} {
		t.Run(s, func(t *testing.T) {
			p := open(t, host.Config{Workload: chaos, Workers: 1})
			number, err := value(typed[order, string](p).Do(t.Context(), order{Do: "child", S: s}))
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			within(t, "Close with a process left behind", 3*time.Second, func() { p.Close() })
			if s == "session" && runtime.GOOS != "linux" { // out of reach without a sandbox, but no hindrance
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			waitGone(t, "a process left behind", pid, time.Second)
		})
	}
}

func TestACrashTakesTheWholeGroup(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 1})
	number, err := value(typed[order, string](p).Do(t.Context(), order{Do: "child"}))
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(number)
	_, err = value(typed[order, string](p).Do(t.Context(), order{Do: "kill"}))
	_ = itemError(t, "Do of kill", err, host.KindCrashed)
	waitGone(t, "a process left behind by a worker that crashed", pid, time.Second)
}

func newSession() *unix.SysProcAttr { return &unix.SysProcAttr{Setsid: true} }

// kill kills a process that a test has left behind.
func kill(t *testing.T, number string) {
	t.Helper()
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}
