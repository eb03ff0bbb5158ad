package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/family"
)

func init() {
	systemDaemons["trace"] = func() {
		signal.Ignore(unix.SIGHUP) // which comes with the end of its parent
		runtime.LockOSThread()
		pid, err := strconv.Atoi(os.Getenv(tracedEnv))
		if err != nil {
			panic(err)
		}
		if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0); errno != 0 {
			panic(errno)
		}
		say("traced")
		os.Stdout.Close()
		beDaemon("sleep")
	}
	maps.Copy(fakes, map[string]func(){
		"traced, ends":    func() { fakeServe(&liar{work: honest(func() { letTrace(); os.Exit(3) })}) },
		"traced, goes on": func() { fakeServe(&liar{work: honest(func() { letTrace(); select {} })}) },
		"traced by a stranger": func() {
			fakeServe(&liar{work: honest(func() { forgetFamily(); letTrace(); os.Exit(3) })})
		},
		"leaves its connection at the set-up": grpcByHand{opened: func(*handmade, uint32) error {
			inheritor()
			os.Exit(7)
			return nil
		}}.serve,
		"leaves a connection that nobody reads": grpcByHand{
			opened: func(h *handmade, stream uint32) error {
				const room = 1 << 30
				return errors.Join(h.WriteWindowUpdate(0, room), h.WriteWindowUpdate(stream, room), h.ready(stream))
			},
			told: func(*handmade, []byte) error {
				inheritor()
				select {}
			},
		}.serve,
	})
}

// inheritor starts a process that inherits all files of this one. No host finds it, because it has removed both of its marks and has that of a test alone.
func inheritor() {
	forgetFamily()
	for fd := range 1 << 10 {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	}
	_, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "600"}, &syscall.ProcAttr{
		Env: []string{markEnv + "=" + os.Getenv(markEnv)}, Files: []uintptr{0, 1, 2}, Sys: newSession(),
	})
	if err != nil {
		panic(err)
	}
}

// forgetFamily takes both marks off what this process is going to start.
func forgetFamily() {
	limit := unix.Rlimit{Cur: 1 << 50, Max: 1 << 50}
	if err := errors.Join(unix.Setrlimit(unix.RLIMIT_RTTIME, &limit), os.Unsetenv(family.Env)); err != nil {
		panic(err)
	}
}

// tracedEnv is whom a tracer traces.
const tracedEnv = "PARHOST_TEST_TRACED"

// letTrace returns when a process that this one has started traces it. It never looks at what becomes of it.
func letTrace() {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), daemonEnv+"=trace", fakeEnv+"=", tracedEnv+"="+strconv.Itoa(os.Getpid()))
	cmd.SysProcAttr = newSession()
	_ = unix.Prctl(unix.PR_SET_PTRACER, unix.PR_SET_PTRACER_ANY, 0, 0, 0) // where Yama asks for it
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		panic(err)
	}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	if said, err := io.ReadAll(out); err != nil || string(said) != "traced\n" {
		panic(fmt.Sprintf("the tracer said %q, %v", said, err))
	}
}

// withInheritors is the config of a pool of a plugin whose inheritors end with the test.
func withInheritors(t *testing.T, name string) host.Config {
	t.Helper()
	mark, env := newMark()
	t.Cleanup(func() {
		for pid := range marked(t, mark) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	})
	cfg := fake(t, name)
	cfg.Env = append(cfg.Env, env)
	return cfg
}

func TestAnInheritedConnectionDoesNotHoldUpAStart(t *testing.T) {
	cfg := withInheritors(t, "leaves its connection at the set-up")
	within(t, "Open", 5*time.Second, func() {
		_, err := host.Open(t.Context(), cfg)
		if e, ok := errors.AsType[*host.StartError](err); !ok || e.Stage != "set-up" || !strings.Contains(e.Err.Error(), "exit code 7") {
			t.Errorf("Open: got %v, want a StartError at stage set-up with exit code 7", err)
		}
	})
}

func TestAnInheritedConnectionDoesNotHoldUpAKill(t *testing.T) {
	cfg := withInheritors(t, "leaves a connection that nobody reads")
	p := open(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	within(t, "Do for a second", 4*time.Second, func() {
		if _, err := value(typed[string, int](p).Do(ctx, strings.Repeat("x", 3_000_000))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Do: got %v, want a deadline error", err)
		}
	})
	within(t, "Close", 3*time.Second, func() { p.Close() })
}

// A process that is traced by what it has started cannot be reaped before its tracer has ended, and is its family's like any other.
func TestATracerDoesNotHoldUpItsWorkersEnd(t *testing.T) {
	for name, want := range map[string]host.ItemError{
		"traced, ends":    {Kind: host.KindCrashed, ExitCode: 3},
		"traced, goes on": {Kind: host.KindTimeout, ExitCode: -1, Signal: "SIGKILL"},
	} {
		t.Run(name, func(t *testing.T) {
			checkGoroutines(t)
			cfg := fake(t, name)
			mark, env := newMark()
			cfg.Env, cfg.ItemTimeout = append(cfg.Env, env), time.Second
			p := open(t, cfg)
			within(t, "Do", 5*time.Second, func() {
				_, err := value(typed[int, int](p).Do(t.Context(), 1))
				if e := itemError(t, "Do", err, want.Kind); e.ExitCode != want.ExitCode || e.Signal != want.Signal {
					t.Errorf("Do: got %+v, want %+v", e, want)
				}
			})
			within(t, "Close", 3*time.Second, func() { p.Close() })
			checkGone(t, mark)
		})
	}
}

// One that no host finds keeps a dead worker from being reaped, and nobody from going on.
func TestATracerThatIsNotFoundHoldsUpNobody(t *testing.T) {
	checkGoroutines(t)
	p := open(t, withInheritors(t, "traced by a stranger"))
	within(t, "Do", 4*time.Second, func() {
		_, err := value(typed[int, int](p).Do(t.Context(), 1))
		_ = itemError(t, "Do", err, host.KindCrashed)
	})
	within(t, "Close", 3*time.Second, func() { p.Close() })
}
