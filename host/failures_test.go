package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

// orders returns n items that are echoed, but for those at the places given.
func orders(n int, special map[int]order) []order {
	items := make([]order, n)
	for i := range items {
		items[i] = order{Do: "echo", S: fmt.Sprint(i)}
		if o, ok := special[i]; ok {
			items[i] = o
		}
	}
	return items
}

// checkOthers checks that all items but those that failed were echoed, and returns the errors.
func checkOthers(t *testing.T, what string, got []string, err error) map[int]*host.ItemError {
	t.Helper()
	errs := mapErrors(t, what, err)
	for i, s := range got {
		if want := fmt.Sprint(i); errs[i] == nil && s != want {
			t.Errorf("%s: result %d: got %q, want %q", what, i, s, want)
		}
		if errs[i] != nil && s != "" {
			t.Errorf("%s: result %d of an item that failed: got %q, want none", what, i, s)
		}
	}
	return errs
}

func TestAPanicFailsItsItemAndReplacesTheWorker(t *testing.T) {
	for _, do := range []string{"panic", "goexit"} {
		t.Run(do, func(t *testing.T) {
			pools(t, host.Config{Workload: chaos}, func(t *testing.T, p *host.Pool) {
				got, err := typed[order, string](p).Map(t.Context(), orders(300, map[int]order{0: {Do: do, S: "ouch"}, 150: {Do: do, S: "ouch"}, 299: {Do: do, S: "ouch"}}))
				errs := checkOthers(t, "Map with three panics", got, err)
				if d := cmp.Diff([]int{0, 150, 299}, indexes(errs)); d != "" {
					t.Fatalf("items that failed (-want +got):\n%s", d)
				}
				for i, e := range errs {
					if e.Kind != host.KindPanicked || e.Attempts != 1 || do == "panic" && (e.Message != "ouch" || !strings.Contains(e.Stack, "misbehave")) {
						t.Errorf("item %d: got %+v, want a panic with its stack", i, e)
					}
				}
			})
		})
	}
}

// What kills a process must cost exactly its item, wherever in a batch it lies and whatever waits behind it.
func TestACrashCostsItsItemAlone(t *testing.T) {
	for name, c := range map[string]struct {
		cfg      host.Config
		crash    order
		exitCode int
		signal   string
		stderr   string
	}{
		"exit":           {crash: order{Do: "exit", N: 7, S: "last words"}, exitCode: 7, stderr: "last words"},
		"exit 0":         {crash: order{Do: "exit", N: 0}, exitCode: 0},
		"kill -9":        {crash: order{Do: "kill"}, exitCode: -1, signal: "SIGKILL"},
		"segfault":       {crash: order{Do: "segfault"}, exitCode: 2, stderr: "unexpected fault address"},
		"stack overflow": {crash: order{Do: "overflow"}, exitCode: 2, stderr: "goroutine"},
		"4 threads":      {cfg: host.Config{Threads: 4}, crash: order{Do: "exit", N: 3}, exitCode: 3},
		"single items":   {cfg: host.Config{Batch: 1}, crash: order{Do: "exit", N: 3}, exitCode: 3},
		"large batches":  {cfg: host.Config{Batch: 500, Workers: 1}, crash: order{Do: "exit", N: 3}, exitCode: 3},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Workload = chaos
			if runtime.GOOS == "windows" && c.signal != "" { // which has none
				c.exitCode, c.signal = 1, ""
			}
			p := open(t, c.cfg)
			places := []int{0, 1, 300, 599}
			special := map[int]order{}
			for _, i := range places {
				special[i] = c.crash
			}
			got, err := typed[order, string](p).Map(t.Context(), orders(600, special))
			errs := checkOthers(t, "Map with four crashes", got, err)
			if d := cmp.Diff(places, indexes(errs)); d != "" {
				t.Fatalf("items that failed (-want +got):\n%s", d)
			}
			for i, e := range errs {
				if e.Kind != host.KindCrashed || e.ExitCode != c.exitCode || e.Signal != c.signal || e.Attempts < 1 || e.Attempts > 1 && c.cfg.Threads == 0 || !errors.Is(e, host.ErrCrashed) {
					// An item that ran beside others may be a suspect first. Then it runs once more, alone.
					t.Errorf("item %d: got %+v after %d attempts, want crashed with exit code %d and signal %q, after one attempt on one thread", i, e, e.Attempts, c.exitCode, c.signal)
				}
				if !strings.Contains(strings.Join(e.Stderr, "\n"), c.stderr) {
					t.Errorf("item %d: got the last lines %q, want %q among them", i, e.Stderr, c.stderr)
				}
			}
		})
	}
}

// Each crash here takes a young worker with nothing to its credit, which must not look like a plugin that does not start.
func TestARunInWhichEverythingCrashesIsNotBroken(t *testing.T) {
	p := open(t, host.Config{Workload: chaos})
	_, err := typed[order, string](p).Map(t.Context(), slices.Repeat([]order{{Do: "exit", N: 1}}, 20))
	if errs := mapErrors(t, "Map of 20 crashes", err); len(errs) != 20 {
		t.Errorf("Map of 20 crashes: got %d failed items, want 20", len(errs))
	}
}

func TestResultsSayWhoRanTheItem(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Batch: 3})
	n := 0
	for r, err := range typed[order, string](p).Stream(t.Context(), slices.Values(orders(20, map[int]order{7: {Do: "exit", N: 1}}))) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Worker == 0 || r.PID == 0 || r.Attempts < 1 || r.Attempts > 1 && r.Index/3 != 2 { // the batch of the crash may have been under way
			t.Errorf("item %d: got worker %d, pid %d, %d attempts, want all of them", r.Index, r.Worker, r.PID, r.Attempts)
		}
		n++
	}
	if n != 20 {
		t.Errorf("got %d results, want 20", n)
	}
}

func TestMemoryRunningOutIsToldFromACrash(t *testing.T) {
	p := open(t, host.Config{Workload: chaos})
	for words, kind := range map[string]host.Kind{
		"fatal error: out of memory": host.KindOutOfMemory,
		"runtime: out of memory: cannot allocate 67108864-byte block (1 in use)": host.KindOutOfMemory,
		"fatal error: runtime: cannot allocate memory":                           host.KindOutOfMemory,
		"fatal error: all goroutines are asleep - deadlock!":                     host.KindCrashed,
		"we ran out of memory once":                                              host.KindCrashed,
		"runtime/cgo: pthread_create failed: Resource temporarily unavailable":   host.KindCrashed, // for want of memory, or of threads
	} {
		dump := words + strings.Repeat("\ngoroutine 1 [running]:", 100) // Go shows them all, behind the reason
		_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "exit", N: 2, S: dump}))
		e := itemError(t, "Do of an item that ends with "+words, err, kind)
		if strings.HasPrefix(words, "runtime") && !slices.Contains(e.Stderr, words) {
			t.Errorf("the last lines: got %q, want %q before them", e.Stderr, words)
		}
	}
}

// A dump is longer than the lines that are kept; the line that says why comes before it.
func TestAnErrorQuotesWhatAProcessSaysBeforeItsDump(t *testing.T) {
	p := open(t, host.Config{Workload: chaos})
	dump := strings.Repeat("\ngs     0x0\n\t/src/main.go:13 +0x29", 100)
	for name, c := range map[string]struct {
		do   order
		want string
	}{
		"a panic elsewhere":           {order{Do: "panic elsewhere"}, "panic: "},
		"what Go does not recover":    {order{Do: "throw"}, "fatal error: "},
		"a stack overflow":            {order{Do: "overflow"}, "fatal error: stack overflow"},
		"a segfault in C":             {order{Do: "exit", N: 2, S: "SIGSEGV: segmentation violation" + dump}, "SIGSEGV: segmentation violation"},
		"an abort of the C library":   {order{Do: "exit", N: 2, S: "free(): invalid pointer\nSIGABRT: abort" + dump}, "free(): invalid pointer"},
		"an exception of C++":         {order{Do: "exit", N: 2, S: "terminate called after throwing an instance of 'E'\n  what():  no model\nSIGABRT: abort" + dump}, "terminate called after throwing an instance of 'E': no model"},
		"stacks that a host asks for": {order{Do: "exit", N: 2, S: "waiting for a lock\nSIGQUIT: quit" + dump}, "waiting for a lock"},
	} {
		_, err := value(typed[order, string](p).Do(t.Context(), c.do))
		e := itemError(t, "Do of an item that ends with "+name, err, host.KindCrashed)
		if _, quoted, _ := strings.Cut(e.Error(), `; stderr: "`); !strings.HasPrefix(quoted, c.want) {
			t.Errorf("%s: got %q, want %q quoted", name, e.Error(), c.want)
		}
	}
}

func TestAnItemBeyondItsLimitIsEndedAlone(t *testing.T) {
	for name, o := range map[string]order{"looks at its context": {Do: "sleep", N: 60_000}, "looks at nothing": {Do: "stubborn"}, "spins": {Do: "spin"}} {
		t.Run(name, func(t *testing.T) {
			for batchName, batch := range map[string]int{"measured batches": 0, "a large batch": 200} {
				t.Run(batchName, func(t *testing.T) {
					cfg := host.Config{Workload: chaos, ItemTimeout: 100 * time.Millisecond, Grace: 100 * time.Millisecond, Batch: batch}
					pools(t, cfg, func(t *testing.T, p *host.Pool) {
						if o.Do != "sleep" && p.Workers()[0].Mode != host.ModeProcess {
							release := leaveBehind()
							defer release()
						}
						within(t, "Map with two slow items", 10*time.Second, func() {
							got, err := typed[order, string](p).Map(t.Context(), orders(300, map[int]order{5: o, 250: o}))
							errs := checkOthers(t, "Map with two slow items", got, err)
							if d := cmp.Diff([]int{5, 250}, indexes(errs)); d != "" {
								t.Fatalf("items that failed (-want +got):\n%s", d)
							}
							for i, e := range errs {
								if e.Kind != host.KindTimeout || e.Attempts != 1 {
									t.Errorf("item %d: got %+v, want timed out after one attempt", i, e)
								}
							}
						})
					})
				})
			}
		})
	}
}

// leaveBehind lets a test leave items behind on goroutines of this process; the function that it returns ends them.
func leaveBehind() (release func()) {
	return func() {
		close(*released.Load())
		hold()
	}
}

// Items that end within their grace must not hide one that does not.
func TestAStubbornItemBehindPoliteOnesIsNoticed(t *testing.T) {
	cfg := host.Config{Workload: chaos, Workers: 1, ItemTimeout: 20 * time.Millisecond, Grace: 200 * time.Millisecond, Batch: 10}
	pools(t, cfg, func(t *testing.T, p *host.Pool) {
		if p.Workers()[0].Mode != host.ModeProcess {
			defer leaveBehind()()
		}
		slow := order{Do: "sleep", N: 60_000}
		within(t, "Map with three polite items and a stubborn one", 10*time.Second, func() {
			got, err := typed[order, string](p).Map(t.Context(), orders(10, map[int]order{2: slow, 3: slow, 4: slow, 5: {Do: "stubborn"}}))
			errs := checkOthers(t, "Map with slow items", got, err)
			if d := cmp.Diff([]int{2, 3, 4, 5}, indexes(errs)); d != "" {
				t.Errorf("items that failed (-want +got):\n%s", d)
			}
		})
	})
}

// A SIGQUIT makes a Go program show its goroutines before it dies.
func TestAStubbornItemLeavesItsStackBehind(t *testing.T) {
	needUnix(t, "a signal that has Go show its stacks")
	p := open(t, host.Config{Workload: chaos, ItemTimeout: 50 * time.Millisecond, Grace: 50 * time.Millisecond})
	_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "stubborn"}))
	e := itemError(t, "Do of a stubborn item", err, host.KindTimeout)
	if !slices.ContainsFunc(e.Stderr, func(line string) bool { return strings.HasPrefix(line, "SIGQUIT") }) || len(e.Stderr) < 10 {
		t.Errorf("the last lines: got %q, want Go's answer to SIGQUIT", e.Stderr)
	}
	if !strings.HasPrefix(e.Dump, "SIGQUIT") || strings.Count(e.Dump, "\ngoroutine ") < 3 || !strings.Contains(e.Dump, "host_test.") {
		t.Errorf("the dump: got %q, want all goroutines, and that of the item", e.Dump)
	}
	if e.Usage == nil || e.Usage.User+e.Usage.System <= 0 || runtime.GOOS == "linux" && e.Usage.MaxRSS < 1<<20 {
		t.Errorf("got usage %+v, want some time and memory", e.Usage)
	}
}

// A worker that is stopped notices nothing; its black box tells which item it was at.
func TestAnItemThatStopsItsWorkerIsEndedAlone(t *testing.T) {
	needUnix(t, "processes that stop themselves")
	for name, cfg := range map[string]host.Config{"1 thread": {Threads: 1}, "4 threads": {Threads: 4}, "1 thread, inline": {Threads: 1, Inline: true}} {
		t.Run(name, func(t *testing.T) {
			cfg.Workload, cfg.ItemTimeout, cfg.Grace, cfg.Batch = chaos, 100*time.Millisecond, 100*time.Millisecond, 5
			p := open(t, cfg)
			within(t, "Map with an item that stops its worker", 20*time.Second, func() {
				// Those that sleep are stopped with it, on its other threads.
				short := order{Do: "sleep", N: 5}
				got, err := typed[order, string](p).Map(t.Context(), slices.Concat(slices.Repeat([]order{short}, 57), []order{{Do: "stop"}}, slices.Repeat([]order{short}, 142)))
				errs := mapErrors(t, "Map with an item that stops its worker", err)
				if d := cmp.Diff([]int{57}, indexes(errs)); d != "" {
					t.Fatalf("items that failed (-want +got):\n%s", d)
				}
				if errs[57].Kind != host.KindTimeout || errs[57].Attempts > 2 || errs[57].Attempts > 1 && cfg.Threads == 1 || got[199] != "slept" {
					t.Errorf("item 57: got %v, want timed out, after one attempt on one thread, and the others' results", errs[57])
				}
			})
		})
	}
}

// An item that never ends holds the lock of a workload that must not run twice: the pool says so, and does not wait for ever.
func TestAStubbornItemOfANotConcurrentWorkload(t *testing.T) {
	cfg := host.Config{Workload: exclusive, ItemTimeout: 50 * time.Millisecond, Grace: 50 * time.Millisecond, Batch: 1}
	t.Run("process", func(t *testing.T) {
		p := open(t, cfg)
		got, err := typed[order, string](p).Map(t.Context(), orders(20, map[int]order{3: {Do: "stubborn"}}))
		if errs := checkOthers(t, "Map", got, err); len(errs) != 1 || errs[3] == nil {
			t.Errorf("got %v, want item 3 timed out", errs)
		}
	})
	t.Run("goroutine", func(t *testing.T) {
		cfg := cfg
		cfg.Mode = host.ModeGoroutine
		p := open(t, cfg)
		defer leaveBehind()()
		within(t, "Map that cannot go on", 5*time.Second, func() {
			// Two: the first that is begun may be the last but one.
			_, err := typed[order, string](p).Map(t.Context(), orders(20, map[int]order{3: {Do: "stubborn"}, 4: {Do: "stubborn"}}))
			if _, ok := errors.AsType[*host.BrokenError](err); !ok {
				t.Errorf("got %v, want a BrokenError", err)
			}
		})
	})
}

func TestOnlyItemsThatMayBeRepeatedAreRetried(t *testing.T) {
	for name, c := range map[string]struct {
		cfg      host.Config
		attempts int
	}{
		"not by default":               {host.Config{Workload: idempotent}, 1},
		"twice, as configured":         {host.Config{Workload: idempotent, Retries: 2}, 3},
		"not if not idempotent":        {host.Config{Workload: chaos, Retries: 2}, 1},
		"if not idempotent but wanted": {host.Config{Workload: chaos, Retries: 1, RetryAlways: true}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			events := new(recorder)
			c.cfg.Observer = events
			p := open(t, c.cfg)
			got, err := typed[order, string](p).Map(t.Context(), orders(40, map[int]order{10: {Do: "exit", N: 1}}))
			errs := checkOthers(t, "Map", got, err)
			if len(errs) != 1 || errs[10] == nil || errs[10].Attempts != c.attempts {
				t.Errorf("got %v with %d attempts, want item 10 crashed after %d", errs, errs[10].Attempts, c.attempts)
			}
			p.AwaitObserver()
			if n := len(ofKind[host.ItemRetried](events)); n != c.attempts-1 {
				t.Errorf("got %d retries, want %d", n, c.attempts-1)
			}
		})
	}
}

// Who kills a worker from outside does not mean the item that happens to run there.
func TestAnItemWhoseWorkerSomebodyKilledRunsOnceMore(t *testing.T) {
	needUnix(t, "deaths from outside that look like it")
	for name, c := range map[string]struct {
		workload sdk.AnyWorkload
		inline   bool
		kills    int
		attempts int
		says     string // of the error; "" for a result
	}{
		"killed once":         {workload: idempotent, kills: 1, attempts: 2},
		"killed once, inline": {workload: idempotent, inline: true, kills: 1, attempts: 2},
		"killed twice":        {workload: idempotent, kills: 2, attempts: 2, says: "SIGKILL"},
		"not idempotent":      {workload: chaos, kills: 1, attempts: 1, says: "not begun again, because the plugin does not say that it is idempotent"},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(t, host.Config{Workload: c.workload, Workers: 1, Inline: c.inline})
			gate := filepath.Join(t.TempDir(), "gate")
			do := "hold once"
			if c.kills > 1 {
				do = "hold"
			}
			h := typed[order, string](p).Start(t.Context(), order{Do: do, S: gate})
			for n := range c.kills {
				waitFile(t, gate)
				if n < c.kills-1 {
					_ = os.Remove(gate) // the next attempt makes it again
				}
				kill(t, strconv.Itoa(h.PID()))
			}
			got, err := value(h.Wait(t.Context()))
			if c.says == "" {
				if err != nil || got != "again" {
					t.Errorf("got %q, %v, want its result", got, err)
				}
				return
			}
			if e := itemError(t, "an item whose worker was killed", err, host.KindCrashed); e.Attempts != c.attempts || !strings.Contains(e.Message, c.says) {
				t.Errorf("got %+v, want crashed after %d attempts with %q", e, c.attempts, c.says)
			}
		})
	}
}

func TestARetryMaySucceed(t *testing.T) {
	p := open(t, host.Config{Workload: idempotent, Retries: 3})
	for r, err := range typed[order, string](p).Stream(t.Context(), slices.Values([]order{{Do: "once", S: t.TempDir() + "/once"}})) {
		if err != nil || r.Err != nil || r.Value != "again" || r.Attempts != 2 {
			t.Errorf("an item that crashes the first time: got %+v, %v, want a result after 2 attempts", r, err)
		}
	}
}

func TestTimeoutsAreRetriedInEveryMode(t *testing.T) {
	pools(t, host.Config{Workload: idempotent, Retries: 1, ItemTimeout: 30 * time.Millisecond}, func(t *testing.T, p *host.Pool) {
		_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "sleep", N: 60_000}))
		if e := itemError(t, "Do of a slow item", err, host.KindTimeout); e.Attempts != 2 {
			t.Errorf("got %d attempts, want 2", e.Attempts)
		}
	})
}

func TestDoEndsWithItsContextBetweenAttempts(t *testing.T) {
	p := open(t, host.Config{Workload: idempotent, Retries: 1000})
	ctx, cancel := context.WithCancel(t.Context())
	events := 0
	within(t, "Do with endless attempts", 5*time.Second, func() {
		time.AfterFunc(300*time.Millisecond, cancel)
		if _, err := value(typed[order, string](p).Do(ctx, order{Do: "exit", N: 1})); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
	_ = events
}

func TestWorkersThatDieIdleAreReplaced(t *testing.T) {
	needUnix(t, "deaths from outside that look like it")
	events := new(recorder)
	p := open(t, host.Config{Workload: chaos, Observer: events})
	for range 3 {
		for _, w := range p.Workers() {
			if proc, err := os.FindProcess(w.PID); err == nil {
				_ = proc.Kill()
			}
		}
		got, err := typed[order, string](p).Map(t.Context(), orders(50, nil))
		if errs := checkOthers(t, "Map after all workers were killed", got, err); len(errs) > 0 {
			for i, e := range errs { // one that was being killed while it got an item may be blamed for it
				if e.Kind != host.KindCrashed || e.Signal != "SIGKILL" {
					t.Errorf("item %d: got %v", i, e)
				}
			}
		}
	}
}

func TestAPluginThatStopsStartingBreaksThePool(t *testing.T) {
	log := t.TempDir() + "/log"
	// One item at a time, so that none overtakes the one that crashes.
	p := open(t, host.Config{Workload: stateful, Workers: 1, Batch: 1, Window: 1, Env: []string{"STATE_LOG=" + log, "STATE_SETUP=second"}})
	within(t, "a Map that can never end", 10*time.Second, func() {
		_, err := typed[string, string](p).Map(t.Context(), []string{"a", "exit", "b", "c"})
		broken, ok := errors.AsType[*host.BrokenError](err)
		if !ok || broken.Failures < 5 || !strings.Contains(err.Error(), "only the first one starts") {
			t.Errorf("got %v, want a BrokenError with the last reason", err)
		}
		if <-p.Done(); !errors.As(p.Err(), &broken) {
			t.Errorf("Err of the pool: got %v, want the BrokenError", p.Err())
		}
		start, ok := errors.AsType[*host.StartError](err)
		if !ok || start.Stage != "set-up" {
			t.Errorf("got %v, want a StartError of the set-up in it", err)
		}
	})
	if _, err := value(typed[string, string](p).Do(t.Context(), "d")); err == nil {
		t.Error("Do on a broken pool: got no error, want one")
	}
}

func TestStdoutBelongsToNobody(t *testing.T) {
	needUnix(t, "file descriptors")
	p := open(t, host.Config{Workload: chaos, Workers: 1})
	for name, do := range map[string]string{"os.Stdout": "print", "file descriptor 1": "print raw"} {
		within(t, "a megabyte on "+name, 10*time.Second, func() {
			if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: do, N: 1 << 20})); err != nil || got != "1048576" {
				t.Errorf("a megabyte on %s: got %q, %v", name, got, err)
			}
		})
	}
}

func TestAFloodOnStderrIsBounded(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 1})
	if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "flood", N: 32 << 20})); err != nil || got != "33554432" {
		t.Errorf("32 MiB without a line break: got %q, %v", got, err)
	}
	_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "exit", N: 1, S: "\nthe end\n" + strings.Repeat("y", 1<<20)}))
	e := itemError(t, "Do of exit", err, host.KindCrashed)
	size := 0
	for _, line := range e.Stderr {
		size += len(line)
	}
	if size > 64<<10 || !slices.ContainsFunc(e.Stderr, func(s string) bool { return strings.HasSuffix(s, "the end") }) {
		t.Errorf("the last lines after a flood: got %d bytes, want at most 64 KiB with the last words", size)
	}
}
