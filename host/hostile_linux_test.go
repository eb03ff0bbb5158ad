package host_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/attempt"
)

// ownSockets is the folder of a worker's socket. The variable is gone when items run.
var ownSockets = os.Getenv("PLUGIN_UNIX_SOCKET_DIR")

func init() {
	maps.Copy(systemOrders, map[string]func(o order) (string, error){
		"attempt": func(o order) (string, error) {
			target, err := attempt.TargetOfEnv()
			if err != nil {
				return "", err
			}
			target.Sockets = ownSockets
			for _, a := range attempt.All(target) {
				if a.Name == o.S {
					return a.Outcome(), nil
				}
			}
			return "", fmt.Errorf("no attempt is called %q", o.S)
		},
		"forks": func(order) (string, error) {
			n, err := attempt.Forks(math.MaxInt)
			fmt.Fprintln(os.Stderr, n, err)
			os.Exit(1)
			return "", nil
		},
		"threads": func(order) (string, error) {
			attempt.Threads(math.MaxInt)
			return "", nil
		},
		"sigsys": func(order) (string, error) { // past Go's own handler
			var byDefault [64]byte
			if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGSYS), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0); errno != 0 {
				return "", errno
			}
			_ = unix.Kill(os.Getpid(), unix.SIGSYS)
			select {}
		},
	})
}

// target is what this host has that its workers should not get at.
func target(t *testing.T) attempt.Target {
	t.Helper()
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	all, stop, err := attempt.OpenTarget(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return all
}

// Items that attack are answered by the walls; those beside them have their results, and no worker is lost.
func TestAttemptsAmongGoodItemsHarmNobody(t *testing.T) {
	atLevels(t, walled, func(t *testing.T, policy sandbox.Policy) {
		names := attempt.Names()
		special := map[int]order{}
		for i, name := range names {
			special[5*i+2] = order{Do: "attempt", S: name}
		}
		events := new(recorder)
		p := open(t, host.Config{Workload: chaos, Sandbox: policy, Env: target(t).Env(), Observer: events})
		got, err := typed[order, string](p).Map(t.Context(), orders(5*len(names)+5, special))
		errs := mapErrors(t, "Map with attacks", err)
		for i, s := range got {
			o, attacks := special[i]
			want := fmt.Sprint(i)
			if e, _ := attempt.Expect(o.S); attacks {
				want = map[sandbox.Level]string{sandbox.Basic: e.Basic, sandbox.Strict: e.Strict}[policy.Level]
			}
			switch {
			case errs[i] != nil && strings.HasPrefix(errs[i].Message, "no attempt is called"): // on this architecture
			case errs[i] != nil:
				t.Errorf("item %d, %s: got %v, want a result", i, o.S, errs[i])
			case s != want && (want != "" || s == "ok"):
				t.Errorf("item %d, %s: got %s, want %s", i, o.S, s, want)
			}
		}
		p.AwaitObserver()
		if ended := ofKind[host.WorkerEnded](events); len(ended) > 0 {
			t.Errorf("got %v, want no worker lost", ended)
		}
	})
}

// Each death has its cause told, with the limit that it met, and costs its own item alone.
func TestTheCauseOfADeathIsTold(t *testing.T) {
	atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
		policy.MemoryBytes, policy.PIDs, policy.AllowFork = 256<<20, 40, policy.Level > sandbox.Off
		const refused = "it was refused a process or a thread: the limit is 40 (Config.Sandbox.PIDs)"
		places := map[int]struct {
			do    order
			kind  host.Kind
			cause host.Cause
			says  string
		}{
			10:  {order{Do: "exit", N: 7}, host.KindCrashed, host.CauseExit, "exit code 7"},
			30:  {order{Do: "hoard"}, host.KindOutOfMemory, host.CauseOutOfMemory, "268435456"},
			50:  {order{Do: "threads"}, host.KindCrashed, host.CausePIDs, refused},
			70:  {order{Do: "forks"}, host.KindCrashed, host.CausePIDs, refused},
			90:  {order{Do: "spin"}, host.KindTimeout, host.CauseTimeout, "still running"},
			110: {order{Do: "pour"}, host.KindCrashed, host.CauseFlood, "flooded its output"},
			130: {order{Do: "sigsys"}, host.KindCrashed, host.CauseSeccomp, "SIGSYS"},
			150: {order{Do: "kill"}, host.KindCrashed, host.CauseSignal, "SIGKILL"},
		}
		special := map[int]order{}
		for i, p := range places {
			if policy.Level == sandbox.Strict && (p.cause == host.CauseSeccomp || p.cause == host.CauseSignal) {
				delete(places, i) // the first process of a namespace cannot signal itself
				continue
			}
			special[i] = p.do
		}
		mark, env := newMark()
		p := open(t, host.Config{Workload: chaos, Sandbox: policy, Env: []string{env}, MaxOutputBytes: 4 << 20, ItemTimeout: 3 * time.Second})
		got, err := typed[order, string](p).Map(t.Context(), orders(200, special))
		errs := checkOthers(t, "Map with all kinds of deaths", got, err)
		_, layers := p.Sandbox()
		counted := strings.Contains(strings.Join(layers, ";"), "cgroup v")
		for i, want := range places {
			if !counted && want.do.Do == "forks" { // setrlimit bounds, but does not count, and nothing is said
				want.cause, want.says = host.CauseExit, ""
			}
			if !counted && want.cause == host.CauseOutOfMemory {
				want.says = ""
			}
			if e := errs[i]; e == nil || e.Kind != want.kind || e.Cause != want.cause || !strings.Contains(e.Message, want.says) {
				t.Errorf("%s: got %+v, want %s by %s with %q", want.do.Do, e, want.kind, want.cause, want.says)
			}
		}
		if len(errs) != len(places) {
			t.Errorf("got the failures %v, want %d", indexes(errs), len(places))
		}
		within(t, "Close", 3*time.Second, func() { p.Close() })
		checkGone(t, mark)
	})
}

// A worker that nobody has set a limit for does not get all threads of the machine either, and that is told.
func TestThreadsAreBoundedInASandbox(t *testing.T) {
	atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
		if policy.Level == sandbox.Off {
			return
		}
		p := open(t, host.Config{Workload: chaos, Sandbox: policy, Workers: 1})
		if _, layers := p.Sandbox(); os.Geteuid() != 0 && policy.Level == sandbox.Basic && !strings.Contains(strings.Join(layers, ";"), "pids") {
			t.Skipf("nothing counts the processes of a worker that is the host's own user: %v", sandbox.ErrNotSupported)
		}
		_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "threads"}))
		e, ok := errors.AsType[*host.ItemError](err)
		if want := "the limit is 512 (Config.Sandbox.PIDs)"; !ok || e.Cause != host.CausePIDs || !strings.Contains(e.Message, want) {
			t.Errorf("got %v, want an end by pids with %q", err, want)
		}
	})
}

// A plugin that meets a limit before it has an item says which, and not only that it was killed.
func TestTheCauseOfAFailedStartIsTold(t *testing.T) {
	stateful := func(how string) host.Config {
		return host.Config{Workload: stateful, Workers: 1, Env: []string{"STATE_SETUP=" + how}}
	}
	const memory = "out of memory, the limit is 134217728 bytes (Config.Sandbox.MemoryBytes)"
	for name, c := range map[string]struct {
		cfg   host.Config
		stage string
		cause host.Cause
		says  string
	}{
		"memory, at the handshake": {fake(t, "hoards"), "handshake", host.CauseOutOfMemory, memory},
		"memory, at the set-up":    {stateful("hoard"), "set-up", host.CauseOutOfMemory, memory},
		"threads, at the set-up":   {stateful("threads"), "set-up", host.CausePIDs, "the limit is 40 (Config.Sandbox.PIDs)"},
		"nothing, at the set-up":   {stateful("exit"), "set-up", host.CauseExit, "exit code 9"},
		"none that it died of":     {stateful("fail"), "set-up", "", "no model"},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Sandbox.MemoryBytes, c.cfg.Sandbox.PIDs = 128<<20, 40
			_, err := host.Open(t.Context(), c.cfg)
			if errors.Is(err, sandbox.ErrNotSupported) {
				t.Skip(err)
			}
			e, ok := errors.AsType[*host.StartError](err)
			if !ok || e.Stage != c.stage || e.Cause != c.cause || !strings.Contains(e.Err.Error(), c.says) {
				t.Errorf("Open: got %+v, want a StartError at stage %q by %q with %q", err, c.stage, c.cause, c.says)
			}
		})
	}
}

// What somebody else does to a worker is told as a signal, and a lie as one, at every level.
func TestTheCauseOfADeathByOthersIsTold(t *testing.T) {
	atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
		p := open(t, host.Config{Workload: chaos, Sandbox: policy, Workers: 1})
		h := typed[order, string](p).Start(t.Context(), order{Do: "sleep", N: 60_000})
		waitRunning(t, p)
		kill(t, strconv.Itoa(h.PID()))
		_, err := h.Wait(t.Context())
		if e := itemError(t, "an item whose worker was killed", err, host.KindCrashed); e.Cause != host.CauseSignal || e.Signal != "SIGKILL" {
			t.Errorf("got %+v, want the cause signal", e)
		}
		cfg := fake(t, "a gap")
		cfg.Sandbox = policy
		_, err = value(typed[int, int](open(t, cfg)).Do(t.Context(), 1))
		if e := itemError(t, "an item whose worker lied", err, host.KindCrashed); e.Cause != host.CauseProtocol {
			t.Errorf("got %+v, want the cause protocol", e)
		}
	})
}

// How many pools are opened and closed; make chaos opens two hundred.
var poolRounds = flag.Int("pools", 8, "how many confined pools are opened and closed")

// A host that opens and closes confined pools all day has no more of anything in the evening.
func TestConfinedPoolsLeaveNothingBehind(t *testing.T) {
	t.Setenv("TMPDIR", shortDir(t))
	atLevels(t, walled, func(t *testing.T, policy sandbox.Policy) {
		policy.MemoryBytes, policy.PIDs = 512<<20, 200
		mark, env := newMark()
		round := func(n int) {
			p := open(t, host.Config{Workload: chaos, Workers: 1, Sandbox: policy, Env: []string{env}})
			h := typed[order, string](p).Start(t.Context(), []order{{Do: "echo"}, {Do: "exit", N: 1}, {Do: "ignore"}}[n%3])
			if n%3 < 2 {
				_, _ = h.Wait(t.Context())
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			<-h.Done()
		}
		round(0)
		checkGoroutines(t)
		before, mounts, cgroups := takeFootprint(t), mountCount(t), cgroupCount(t)
		for n := range *poolRounds {
			round(n)
		}
		checkLeft(t, before, mark)
		if n := mountCount(t); n != mounts {
			t.Errorf("mounts: got %d, want %d as before", n, mounts)
		}
		if n := cgroupCount(t); n != cgroups {
			t.Errorf("cgroups: got %d, want %d as before", n, cgroups)
		}
	})
}

func mountCount(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "\n")
}

// cgroupCount counts the folders of this process's sandboxes in all hierarchies of control groups.
func cgroupCount(t *testing.T) (n int) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	mine := fmt.Sprintf("-%x-", os.Getpid()) // in the names of their folders
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if !strings.Contains(line, " - cgroup") || len(fields) < 5 {
			continue
		}
		_ = filepath.WalkDir(fields[4], func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && strings.Contains(path, mine) {
				n++
			}
			return nil
		})
	}
	return n
}
