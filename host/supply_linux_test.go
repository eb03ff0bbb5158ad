package host_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
)

func TestNumbersThatCannotBeAreRefusedAtOnce(t *testing.T) {
	for want, cfg := range map[string]host.Config{
		"Workers": {Workers: math.MaxInt}, "Standby": {Standby: math.MaxInt}, "Threads": {Threads: math.MaxInt}, "Window": {Window: math.MaxInt},
	} {
		cfg.Workload = chaos
		p, err := host.Open(t.Context(), cfg)
		if err == nil {
			_ = p.Close()
		}
		if bad, ok := errors.AsType[*host.ConfigError](err); !ok || bad.Field != want {
			t.Errorf("Open with too much of %s: got %v, want a ConfigError that names it", want, err)
		}
	}
	p, err := host.Open(t.Context(), host.Config{Workload: chaos, Mode: host.ModeGoroutine, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Resize(math.MaxInt); !errors.As(err, new(*host.ConfigError)) {
		t.Errorf("Resize: got %v, want a ConfigError", err)
	}
}

func TestMoreWorkersThanOpenFilesAllowAreRefused(t *testing.T) {
	out, err := under(t, "ulimit -n 100", hostCommand(t, "scarce")).Output()
	text := string(out)
	for _, want := range []string{"open: Config.Workers: 1000 worker processes", "resize: Config.Workers: 1000 worker processes", "limit of 100 (ulimit -n)", "few: <nil>"} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("got %s, %v, want %q in it", text, err, want)
		}
	}
	if strings.Count(text, "at most 6 ") < 1 {
		t.Errorf("got %s, want the number that is possible", text)
	}
}

// fewTasks is a limit of processes and threads that leaves room for the programs of a test's user, and not for 1000 workers.
const fewTasks = "500"

// withTasks limits the processes and threads of the command: in a cgroup, whose file is returned, or for its user.
func withTasks(t *testing.T, cmd *exec.Cmd) (file string) {
	t.Helper()
	if os.Geteuid() != 0 {
		under(t, "{ ulimit -u "+fewTasks+" 2>/dev/null || ulimit -p "+fewTasks+"; }", cmd) // of bash, and of dash
		return ""
	}
	group, err := newGroup(t, []groupLimit{{"/sys/fs/cgroup/pids", "pids.max", fewTasks}, {"/sys/fs/cgroup", "pids.max", fewTasks}})
	if err != nil {
		t.Skipf("no cgroup with a limit of processes can be made here: %v", err)
	}
	under(t, "echo $$ >"+filepath.Join(group, "cgroup.procs"), cmd)
	return filepath.Join(group, "pids.max")
}

// Too many workers are refused, before the system refuses the host a thread and so ends the host.
func TestMoreWorkersThanProcessesAllowAreRefused(t *testing.T) {
	cmd := hostCommand(t, "scarce")
	limit := "the user's limit (ulimit -u)"
	if file := withTasks(t, cmd); file != "" {
		limit = file
	}
	out, err := cmd.Output()
	text := string(out)
	for _, want := range []string{"open: Config.Workers: 1000 worker processes take 8 processes and threads each", "resize: Config.Workers: 1000 worker processes", limit + " allows " + fewTasks, "few: <nil>"} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("got %s, %v, want %q in it", text, err, want)
		}
	}
}

// limitEnv names the cgroup file that the host "without processes" sets to 1. If it is empty, that host lowers the limit of its user instead.
const limitEnv = "PARHOST_TEST_LIMIT_FILE"

func init() {
	// without processes loses its worker when no process can be started any more.
	hosts["without processes"] = func() {
		p := mustOpen(host.Config{Workload: chaos, Workers: 1})
		defer p.Close()
		// The Go runtime keeps these threads. It ends this program if it needs one more.
		var there, done sync.WaitGroup
		for range 40 {
			there.Add(1)
			done.Go(func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				there.Done()
				there.Wait()
			})
		}
		done.Wait()
		var err error
		if file := os.Getenv(limitEnv); file != "" {
			err = os.WriteFile(file, []byte("1"), 0)
		} else {
			err = unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 1, Max: 1})
		}
		_, failed := typed[order, string](p).Map(context.Background(), orders(10, map[int]order{0: {Do: "exit", N: 3}}))
		say(err, failed)
	}
}

func TestAStartThatTheSystemRefusesNamesTheLimit(t *testing.T) {
	cmd := hostCommand(t, "without processes")
	limit := "the user's limit (ulimit -u) allows 1 processes and threads, of which "
	if file := withTasks(t, cmd); file != "" {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%s", limitEnv, file))
		limit = file + " allows 1 processes and threads, of which "
	}
	out, err := cmd.Output()
	if text := string(out); err != nil || !strings.Contains(text, "resource temporarily unavailable; "+limit) {
		t.Errorf("got %s, %v, want the end of the pool with %q in it", text, err, limit)
	}
}

func TestADeathOnASmallStackNamesTheLimit(t *testing.T) {
	cmd := hostCommand(t, "small stack")
	out, err := cmd.Output()
	if want := "ended by SIGSEGV (segmentation fault; the stack is limited to 65536 bytes, ulimit -s)"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("got %s, %v, want %q in it", out, err, want)
	}
}

func init() {
	hosts["small stack"] = func() {
		err := unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: 64 << 10, Max: 64 << 10})
		p := mustOpen(host.Config{Workload: chaos, Workers: 1})
		defer p.Close()
		_, failed := value(typed[order, string](p).Do(context.Background(), order{Do: "raise SIGSEGV"}))
		say(err, failed)
	}
	systemOrders["raise SIGSEGV"] = func(order) (string, error) { // with the default action, as in other languages than Go
		return "", endBy(unix.SIGSEGV)
	}
	systemOrders["raise SIGXFSZ"] = func(order) (string, error) { return "", endBy(unix.SIGXFSZ) }
	hosts["short files"] = func() {
		err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4096, Max: 4096})
		p := mustOpen(host.Config{Workload: chaos, Workers: 1})
		defer p.Close()
		_, failed := value(typed[order, string](p).Do(context.Background(), order{Do: "raise SIGXFSZ"}))
		say(err, failed)
	}
}

// endBy ends this process by a signal that Go programs do not die of.
func endBy(signal unix.Signal) error {
	byDefault := make([]byte, 64)
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(&byDefault[0])), 0, 8, 0, 0); errno != 0 {
		return errno
	}
	if err := unix.Kill(os.Getpid(), signal); err != nil {
		return err
	}
	select {}
}

func TestADeathAtTheShellsLimitOfFilesNamesTheLimit(t *testing.T) {
	cmd := hostCommand(t, "short files")
	out, err := cmd.Output()
	if want := "a file grew too large: the limit is 4096 bytes (ulimit -f)"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("got %s, %v, want %q in it", out, err, want)
	}
}
