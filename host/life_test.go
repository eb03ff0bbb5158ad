package host_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host"
)

func TestOpenNamesTheFieldThatCannotBeUsed(t *testing.T) {
	for name, c := range map[string]struct {
		cfg   host.Config
		field string
	}{
		"no plugin":                {host.Config{}, "Plugin"},
		"an unknown mode":          {host.Config{Plugin: "x", Mode: "thread"}, "Mode"},
		"goroutines of a plugin":   {host.Config{Plugin: "x", Mode: host.ModeGoroutine}, "Workload"},
		"negative threads":         {host.Config{Workload: half, Threads: -1}, "Threads"},
		"a negative batch":         {host.Config{Workload: half, Batch: -1}, "Batch"},
		"a negative window":        {host.Config{Workload: half, Window: -1}, "Window"},
		"a negative item timeout":  {host.Config{Workload: half, ItemTimeout: -1}, "ItemTimeout"},
		"a negative start timeout": {host.Config{Workload: half, StartTimeout: -1}, "StartTimeout"},
		"a negative setup timeout": {host.Config{Workload: half, SetupTimeout: -1}, "SetupTimeout"},
		"a negative grace":         {host.Config{Workload: half, Grace: -1}, "Grace"},
		"a negative item size":     {host.Config{Workload: half, MaxItemBytes: -1}, "MaxItemBytes"},
		"a negative result size":   {host.Config{Workload: half, MaxResultBytes: -1}, "MaxResultBytes"},
		"a negative output size":   {host.Config{Workload: half, MaxOutputBytes: -1}, "MaxOutputBytes"},
		"negative retries":         {host.Config{Workload: half, Retries: -1}, "Retries"},
		"negative memory retries":  {host.Config{Workload: half, MemoryRetries: -2}, "MemoryRetries"},
		"negative items":           {host.Config{Workload: half, MaxItems: -1}, "MaxItems"},
		"a negative age":           {host.Config{Workload: half, MaxAge: -1}, "MaxAge"},
		"negative memory":          {host.Config{Workload: half, MaxRSS: -1}, "MaxRSS"},
		"a negative idle time":     {host.Config{Workload: half, MaxIdle: -1}, "MaxIdle"},
		"a least beyond the most":  {host.Config{Workload: half, Workers: 2, MinWorkers: 3}, "MinWorkers"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := host.Open(t.Context(), c.cfg)
			if e, ok := errors.AsType[*host.ConfigError](err); !ok || e.Field != c.field {
				t.Errorf("Open: got %v, want a ConfigError of %s", err, c.field)
			}
		})
	}
}

func TestCountWorkersFollowsJoblib(t *testing.T) {
	cpus := runtime.GOMAXPROCS(0)
	for n, want := range map[int]int{1: 1, 7: 7, -1: cpus, -2: max(1, cpus-1), -1000: 1} {
		if got, err := host.CountWorkers(n); err != nil || got != want {
			t.Errorf("CountWorkers(%d): got %d, %v, want %d", n, got, err, want)
		}
	}
	if _, err := host.CountWorkers(0); err == nil {
		t.Error("CountWorkers(0): got no error, want one")
	}
}

func TestOpenOfAPluginThatIsNotThere(t *testing.T) {
	needUnix(t, "modes of files")
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, plugin := range map[string]string{"a name": "no-such-plugin", "a path": "./no-such-plugin", "a folder": dir, "no executable": plain} {
		if _, err := host.Open(t.Context(), host.Config{Plugin: plugin}); !errors.Is(err, host.ErrNotFound) {
			t.Errorf("Open of %s: got %v, want ErrNotFound", name, err)
		}
	}
}

func TestFindLooksInTheGivenFoldersFirst(t *testing.T) {
	needUnix(t, "modes of files")
	first, second := t.TempDir(), t.TempDir()
	t.Setenv(host.PathEnv, second)
	for _, dir := range []string{first, second} {
		if err := os.WriteFile(filepath.Join(dir, "parhost-plugin-twin"), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := host.Find("twin", first); err != nil || filepath.Dir(got) != first {
		t.Errorf("Find with a folder: got %q, %v, want the one in %q", got, err, first)
	}
	if got, err := host.Find("twin"); err != nil || filepath.Dir(got) != second {
		t.Errorf("Find without: got %q, %v, want the one of %s", got, err, host.PathEnv)
	}
	if got := host.Installed(first)["twin"]; filepath.Dir(got) != first {
		t.Errorf("Installed: got %q, want the first one", got)
	}
}

func TestATemporaryFolderThatIsTooDeepIsAClearError(t *testing.T) {
	needUnix(t, "paths of sockets")
	deep := filepath.Join(t.TempDir(), strings.Repeat("deep/", 20))
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := host.Open(t.Context(), host.Config{Workload: half, TempDir: deep})
	if err == nil || !strings.Contains(err.Error(), "the limit is 103") || !strings.Contains(err.Error(), "TempDir") {
		t.Errorf("Open with a long TempDir: got %v, want the limit and what to set", err)
	}
	if left, _ := os.ReadDir(deep); len(left) > 0 {
		t.Errorf("in the folder: got %v, want nothing", left)
	}
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	for name, end := range map[string]func(p *host.Pool){
		"Close":    func(p *host.Pool) { p.Close() },
		"Shutdown": func(p *host.Pool) { p.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := shortDir(t)
			p := open(t, host.Config{Workload: half, TempDir: dir})
			if _, err := typed[float64, float64](p).Map(t.Context(), upTo(100)); err != nil {
				t.Fatal(err)
			}
			workers := p.Workers()
			if left, _ := os.ReadDir(dir); len(left) != 1 || len(workers) != 2 {
				t.Errorf("while it is open: got %v and %d workers, want one folder and 2 workers", left, len(workers))
			}
			end(p)
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("afterwards: got %v, want nothing", left)
			}
			for _, w := range workers {
				waitGone(t, "a worker after "+name, w.PID, time.Second)
			}
			if len(p.Workers()) != 0 {
				t.Errorf("Workers afterwards: got %+v, want none", p.Workers())
			}
		})
	}
}

// What a host leaves behind that is killed, the next one removes; what another one uses it leaves alone.
func TestOpenRemovesWhatKilledHostsLeft(t *testing.T) {
	dir := shortDir(t)
	stale := filepath.Join(dir, "parhost-1-123")
	if runtime.GOOS == "windows" { // its lock went with the host, and there was nothing else
		long := time.Now().Add(-time.Hour)
		if err := errors.Join(os.Mkdir(stale, 0o700), os.Chtimes(stale, long, long)); err != nil {
			t.Fatal(err)
		}
	} else {
		if err := os.MkdirAll(filepath.Join(stale, "plugin-dir1"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(stale, "lock"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := open(t, host.Config{Workload: half, TempDir: dir})
	waitNoFile(t, stale) // in the background
	open(t, host.Config{Workload: half, TempDir: dir})
	if dirs, _ := os.ReadDir(dir); len(dirs) != 2 {
		t.Errorf("folders of two pools: got %v, want two", dirs)
	}
	if got, err := value(typed[float64, float64](first).Do(t.Context(), 4)); err != nil || got != 2 {
		t.Errorf("the first pool afterwards: got %v, %v", got, err)
	}
}

func TestWorkersGetAnExplicitEnvironment(t *testing.T) {
	t.Setenv("SECRET_OF_THE_HOST", "hunter2")
	t.Setenv("LC_TIME", "C.UTF-8")
	p := open(t, host.Config{Workload: chaos, Workers: 1, Env: []string{"GIVEN=by the config"}})
	for name, want := range map[string]string{
		"SECRET_OF_THE_HOST": "", "GIVEN": "by the config", "LC_TIME": "C.UTF-8", "PATH": os.Getenv("PATH"),
		"GOMAXPROCS": strconv.Itoa(runtime.GOMAXPROCS(0)), "OMP_NUM_THREADS": strconv.Itoa(runtime.GOMAXPROCS(0)),
		"PARHOST_PLUGIN": "", "PARHOST_WORKLOAD": "", "PARHOST_ALIVE_FD": "", // or a program that the workload starts would take itself for a worker
	} {
		if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "env", S: name})); err != nil || got != want {
			t.Errorf("%s in a worker: got %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestWorkersShareTheCPUs(t *testing.T) {
	n := 2 * runtime.GOMAXPROCS(0)
	p := open(t, host.Config{Workload: chaos, Workers: n})
	for _, name := range []string{
		"GOMAXPROCS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
		"NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "JULIA_NUM_THREADS",
	} {
		if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "env", S: name})); err != nil || got != "1" {
			t.Errorf("%s of one of %d workers: got %q, %v, want 1", name, n, got, err)
		}
	}
}

func TestWorkersStartInTheirFolder(t *testing.T) {
	dir := t.TempDir()
	p := open(t, host.Config{Workload: chaos, Workers: 1, Dir: dir})
	if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "dir"})); err != nil || got != dir {
		t.Errorf("the folder of a worker: got %q, %v, want %q", got, err, dir)
	}
}

func TestShutdownLetsRunningItemsEnd(t *testing.T) {
	pools(t, host.Config{Workload: chaos, Workers: 1}, func(t *testing.T, p *host.Pool) {
		gate := t.TempDir() + "/gate"
		h := typed[order, string](p).Start(t.Context(), order{Do: "await", S: gate})
		waitFile(t, gate)
		waiting := typed[order, string](p).Start(t.Context(), order{Do: "echo"})
		down := make(chan error, 1)
		go func() { down <- p.Shutdown(t.Context()) }()
		if _, err := waiting.Wait(t.Context()); !errors.Is(err, host.ErrClosed) {
			t.Errorf("an item that had not begun: got %v, want ErrClosed", err)
		}
		select {
		case <-h.Done():
			t.Error("the running item has ended, want it to go on")
		case err := <-down:
			t.Errorf("Shutdown while an item runs: returned %v, want it to wait", err)
		default:
		}
		removeWhenThere(t, gate)
		if got, err := value(h.Wait(t.Context())); err != nil || got != "done" {
			t.Errorf("the running item: got %q, %v, want its result", got, err)
		}
		if err := <-down; err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
	})
}

// A run that is refused more work still yields what was under way.
func TestShutdownLetsAStreamEndWithWhatItHas(t *testing.T) {
	for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine} {
		t.Run(string(mode), func(t *testing.T) {
			p := open(t, host.Config{Workload: chaos, Mode: mode, Workers: 2, Batch: 1})
			dir := t.TempDir()
			items := []order{{Do: "await", S: dir + "/0"}, {Do: "await", S: dir + "/1"}, {Do: "echo"}, {Do: "echo"}}
			go func() {
				waitFile(t, dir+"/0")
				waitFile(t, dir+"/1")
				var down sync.WaitGroup
				down.Go(func() { p.Shutdown(context.Background()) })
				if _, err := value(typed[order, string](p).Do(context.Background(), order{Do: "echo"})); !errors.Is(err, host.ErrClosed) {
					t.Errorf("Do after Shutdown began: got %v, want ErrClosed", err)
				}
				removeWhenThere(t, dir+"/0")
				removeWhenThere(t, dir+"/1")
				down.Wait()
			}()
			var values []string
			var last error
			for r, err := range typed[order, string](p).Stream(t.Context(), slices.Values(items)) {
				if last = err; err == nil {
					values = append(values, r.Value)
				}
			}
			if d := cmp.Diff([]string{"done", "done"}, values); d != "" || !errors.Is(last, host.ErrClosed) {
				t.Errorf("the stream ended with %v, want ErrClosed; results (-want +got):\n%s", last, d)
			}
		})
	}
}

func TestCloseEndsWhatRuns(t *testing.T) {
	for name, o := range map[string]order{"polite": {Do: "hold"}, "stubborn": {Do: "stubborn"}} {
		t.Run(name, func(t *testing.T) {
			pools(t, host.Config{Workload: chaos, Grace: 100 * time.Millisecond}, func(t *testing.T, p *host.Pool) {
				if p.Workers()[0].Mode != host.ModeProcess {
					defer leaveBehind()()
				}
				o.S = t.TempDir() + "/begun"
				result := make(chan error, 1)
				go func() {
					_, err := typed[order, string](p).Map(t.Context(), []order{o, o, o, o})
					result <- err
				}()
				waitFile(t, o.S)
				within(t, "Close with items under way", 3*time.Second, func() {
					p.Close()
					if err := <-result; !errors.Is(err, host.ErrClosed) {
						t.Errorf("Map on a pool that was closed: got %v, want ErrClosed", err)
					}
				})
			})
		})
	}
}

func TestShutdownAndCloseMayComeTwiceInAnyOrder(t *testing.T) {
	down := func(p *host.Pool) error { return p.Shutdown(context.Background()) }
	for name, ends := range map[string][]func(*host.Pool) error{
		"Close, Close":       {(*host.Pool).Close, (*host.Pool).Close},
		"Shutdown, Shutdown": {down, down},
		"Shutdown, Close":    {down, (*host.Pool).Close},
		"Close, Shutdown":    {(*host.Pool).Close, down},
	} {
		t.Run(name, func(t *testing.T) {
			pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
				for _, end := range ends {
					if err := end(p); err != nil {
						t.Errorf("got %v, want no error", err)
					}
				}
				if _, err := value(typed[float64, float64](p).Do(t.Context(), 1)); !errors.Is(err, host.ErrClosed) {
					t.Errorf("Do afterwards: got %v, want ErrClosed", err)
				}
				if _, err := typed[float64, float64](p).Map(t.Context(), upTo(5)); !errors.Is(err, host.ErrClosed) {
					t.Errorf("Map afterwards: got %v, want ErrClosed", err)
				}
			})
		})
	}
}

func TestShutdownWithAnEndedContextCloses(t *testing.T) {
	pools(t, host.Config{Workload: chaos}, func(t *testing.T, p *host.Pool) {
		begun := t.TempDir() + "/begun"
		h := typed[order, string](p).Start(t.Context(), order{Do: "hold", S: begun})
		waitFile(t, begun)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		within(t, "Shutdown with an ended context", 5*time.Second, func() {
			if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: got %v, want a deadline error", err)
			}
		})
		<-h.Done()
	})
}

func TestSetupAndTeardownComeOnceForEachWorker(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			log := t.TempDir() + "/log"
			t.Setenv("STATE_LOG", log)
			p := open(t, host.Config{Workload: stateful, Mode: mode, Env: []string{"STATE_LOG=" + log}})
			workers := len(p.Workers())
			if _, err := typed[string, string](p).Map(t.Context(), slices.Repeat([]string{"x"}, 100)); err != nil {
				t.Fatal(err)
			}
			if err := p.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			if up, down := strings.Count(string(b), "set up\n"), strings.Count(string(b), "torn down\n"); up != workers || down != workers {
				t.Errorf("%d workers: got %d set-ups and %d teardowns", workers, up, down)
			}
		})
	}
}

func TestASetupThatFailsEndsOpen(t *testing.T) {
	for how, says := range map[string]string{"fail": "no model", "panic": "no model at all", "hang": "not done after 200ms (Config.SetupTimeout)"} {
		t.Run(how, func(t *testing.T) {
			for _, mode := range modes {
				t.Run(string(mode), func(t *testing.T) {
					t.Setenv("STATE_SETUP", how)
					cfg := host.Config{Workload: stateful, Mode: mode, Env: []string{"STATE_SETUP=" + how}, SetupTimeout: 200 * time.Millisecond, Workers: 2}
					within(t, "Open with a set-up that fails", 5*time.Second, func() {
						_, err := host.Open(t.Context(), cfg)
						e, ok := errors.AsType[*host.StartError](err)
						if !ok || e.Stage != "set-up" || !strings.Contains(e.Err.Error(), says) && (how != "hang" || mode == host.ModeProcess || !errors.Is(err, context.DeadlineExceeded)) {
							t.Errorf("Open: got %v, want a StartError of the set-up with %q", err, says)
						}
					})
				})
			}
		})
	}
}

func TestASetupThatExitsEndsOpen(t *testing.T) {
	_, err := host.Open(t.Context(), host.Config{Workload: stateful, Workers: 1, Env: []string{"STATE_SETUP=exit"}})
	e, ok := errors.AsType[*host.StartError](err)
	if !ok || e.Stage != "set-up" || !strings.Contains(err.Error(), "exit code 9") || !slices.Contains(e.Stderr, "cannot live like this") {
		t.Errorf("Open: got %v, want a StartError of the set-up with exit code and last words", err)
	}
}

func TestAnEndedContextEndsOpen(t *testing.T) {
	cause := errors.New("changed my mind")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
	within(t, "Open with an ended context", 5*time.Second, func() {
		_, err := host.Open(ctx, host.Config{Workload: stateful, Env: []string{"STATE_SETUP=hang"}, StartTimeout: 50 * time.Second})
		if !errors.Is(err, cause) {
			t.Errorf("Open: got %v, want the context's cause", err)
		}
	})
}

func TestRecyclingLosesNothing(t *testing.T) {
	for name, cfg := range map[string]host.Config{
		"by items":  {MaxItems: 100},
		"by memory": {MaxRSS: 1},
		"by age":    {MaxAge: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine} {
				if mode == host.ModeGoroutine && name == "by memory" {
					continue // the memory is the host's own
				}
				t.Run(string(mode), func(t *testing.T) {
					if name == "by memory" {
						needUnix(t, "a way to read the memory of a process")
					}
					events := new(recorder)
					cfg.Workload, cfg.Mode, cfg.Observer = half, mode, events
					p := open(t, cfg)
					for begun := time.Now(); time.Since(begun) < 10*time.Second; {
						const n = 1000
						got, err := typed[float64, float64](p).Map(t.Context(), upTo(n))
						if err != nil || got[n-1] != (n-1)/2.0 {
							t.Fatalf("Map while workers are replaced: got %v", err)
						}
						p.AwaitObserver()
						retired := 0
						for _, e := range ofKind[host.WorkerEnded](events) {
							if !strings.HasPrefix(e.Reason, "retired: ") {
								t.Fatalf("a worker ended: %+v", e)
							}
							retired++
						}
						if retired >= 4 || retired >= 1 && name != "by items" {
							return
						}
					}
					t.Error("no worker was replaced in 10 s")
				})
			}
		})
	}
}

func TestAWorkerIsToldToEndByItsOwnSignalToo(t *testing.T) {
	needUnix(t, "signals")
	p := open(t, host.Config{Workload: chaos, Workers: 1})
	gate := t.TempDir() + "/gate"
	h := typed[order, string](p).Start(t.Context(), order{Do: "await", S: gate})
	waitFile(t, gate)
	pid := p.Workers()[0].PID
	proc, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := proc.Signal(os.Interrupt); err != nil { // a terminal's, meant for the host
		t.Fatal(err)
	}
	if err := proc.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	removeWhenThere(t, gate)
	if got, err := value(h.Wait(t.Context())); err != nil || got != "done" {
		t.Errorf("the running item of a worker that got SIGTERM: got %q, %v, want its result", got, err)
	}
	waitGone(t, "a worker that got SIGTERM", pid, 3*time.Second)
	if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "echo", S: "next"})); err != nil || got != "next" {
		t.Errorf("the pool afterwards: got %q, %v", got, err)
	}
}

// The one that stood by takes over at once: no start lies between a crash and the next item.
func TestAStandbyTakesTheDeadWorkersPlace(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 1, Standby: 1})
	before := p.Workers()
	if len(before) != 2 || before[0].Standby == before[1].Standby {
		t.Fatalf("got %+v, want two workers of which one stands by", before)
	}
	active, spare := before[0], before[1]
	if active.Standby {
		active, spare = spare, active
	}
	for range 10 {
		if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "pid"})); err != nil || got != fmt.Sprint(active.PID) {
			t.Fatalf("an item: got %q, %v, want it on worker process %d", got, err, active.PID)
		}
	}
	_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "exit", N: 1}))
	_ = itemError(t, "an item that exits", err, host.KindCrashed)
	if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "pid"})); err != nil || got != fmt.Sprint(spare.PID) {
		t.Errorf("the item after the crash: got %q, %v, want it on the process that stood by, %d", got, err, spare.PID)
	}
	for len(p.Workers()) < 2 {
		time.Sleep(time.Millisecond) // until the next stands by
	}
	for _, w := range p.Workers() {
		if w.Standby == (w.PID == spare.PID) {
			t.Errorf("got %+v, want the new process to stand by", w)
		}
	}
}

// Its memory is in the CPU's caches, and it may still be awake.
func TestItemsOneAtATimeGoToTheWorkerThatRanLast(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 3})
	seen := map[string]bool{}
	for range 20 {
		pid, err := value(typed[order, string](p).Do(t.Context(), order{Do: "pid"}))
		if err != nil {
			t.Fatal(err)
		}
		seen[pid] = true
	}
	if len(seen) > 1 {
		t.Errorf("got the processes %v, want one", slices.Sorted(maps.Keys(seen)))
	}
}

// A worker that is too old when a batch comes back runs few more.
func TestAWorkerThatIsTooOldEndsSoon(t *testing.T) {
	events := new(recorder)
	p := open(t, host.Config{Workload: chaos, Workers: 1, Batch: 1, Window: 1, MaxAge: time.Millisecond, Observer: events})
	items := make([]order, 40)
	for i := range items {
		items[i] = order{Do: "sleep", N: 50}
	}
	if _, err := typed[order, string](p).Map(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
	youngest := time.Hour
	for _, e := range ofKind[host.WorkerEnded](events) {
		if age, _, ok := strings.Cut(strings.TrimPrefix(e.Reason, "retired: "), " old, "); ok {
			if d, err := time.ParseDuration(age); err == nil {
				youngest = min(youngest, d)
			}
		}
	}
	if youngest >= time.Second { // as old as a look once a second finds them
		t.Errorf("the age of the youngest worker that was replaced: got %v, want less than 1 s", youngest)
	}
}
