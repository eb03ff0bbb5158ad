package host_test

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

// What make chaos sets.
var (
	chaosItems = flag.Int("items", 1500, "how many items each run of the chaos tests has")
	chaosSeed  = flag.Uint64("seed", 0, "what the chaos tests draw their troubles from; 0 draws a seed first")
)

// seed returns what the test draws from, and writes it down: the same seed gives the same items, and the same victims in the same order.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := *chaosSeed
	for s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed %d -items %d", s, *chaosItems)
	return s
}

// trouble is an item of mayhem.
type trouble struct {
	Index int `json:"index"`
	order
}

// outcome is what mayhem makes of an item that it lives through.
type outcome struct {
	Index int    `json:"index"`
	Value uint64 `json:"value"`
	Said  string `json:"said"`
}

// mayhem is the workload of it all.
var mayhem = sdk.Func("mayhem", bringTrouble).With(sdk.Manifest{Idempotent: true})

func init() { workloads = append(workloads, mayhem) }

func bringTrouble(ctx context.Context, t trouble) (outcome, error) {
	said, err := misbehave(ctx, t.order)
	return outcome{Index: t.Index, Value: valueOf(t.Index), Said: said}, err
}

func valueOf(i int) uint64 { return rand.NewPCG(uint64(i), 1).Uint64() }

// deed is something that an item may do, and what has to become of it.
type deed struct {
	name   string
	do     order
	kind   host.Kind // "" is a result
	code   int       // of a crash
	signal string    // of a crash
	either bool      // the crash may end in any way
	taints bool      // the items that run beside it in its process may fail of it too
}

// hangs reports whether the item goes on until it is killed.
func (d *deed) hangs() bool { return d.kind == host.KindTimeout }

const chaosMaxResult = 1 << 20

var deeds = []deed{
	{name: "64 KiB", do: order{Do: "echo", S: strings.Repeat("x", 64<<10)}},
	{name: "a flood on stderr", do: order{Do: "flood", N: 1 << 20}},
	{name: "noise on stdout", do: order{Do: "print", N: 1 << 16}},
	{name: "raw noise on stdout", do: order{Do: "print raw", N: 1 << 16}},
	{name: "a process left behind", do: order{Do: "child"}},
	{name: "an error", do: order{Do: "fail", S: "no"}, kind: host.KindFailed},
	{name: "a bad item", do: order{Do: "bad", S: "no"}, kind: host.KindBadItem},
	{name: "a panic", do: order{Do: "panic", S: "ouch"}, kind: host.KindPanicked},
	{name: "Goexit", do: order{Do: "goexit"}, kind: host.KindPanicked},
	{name: "too large a result", do: order{Do: "huge", N: 2 * chaosMaxResult}, kind: host.KindOversize},
	{name: "exit 0", do: order{Do: "exit"}, kind: host.KindCrashed},
	{name: "exit 7", do: order{Do: "exit", N: 7, S: "last words"}, kind: host.KindCrashed, code: 7},
	{name: "kill -9", do: order{Do: "kill"}, kind: host.KindCrashed, code: -1, signal: "SIGKILL"},
	{name: "a segmentation fault", do: order{Do: "segfault"}, kind: host.KindCrashed, code: 2},
	{name: "a panic on another goroutine", do: order{Do: "panic elsewhere"}, kind: host.KindCrashed, code: 2},
	{name: "a fatal error", do: order{Do: "throw"}, kind: host.KindCrashed, code: 2},
	{name: "a stack overflow", do: order{Do: "overflow"}, kind: host.KindCrashed, code: 2},
	{name: "all files closed", do: order{Do: "close"}, kind: host.KindCrashed, either: true, taints: true},
	{name: "too long, and polite", do: order{Do: "sleep", N: 600_000}, kind: host.KindTimeout},
	{name: "blocked for ever", do: order{Do: "stubborn"}, kind: host.KindTimeout},
	{name: "an endless loop", do: order{Do: "spin"}, kind: host.KindTimeout},
	{name: "deaf to signals", do: order{Do: "ignore"}, kind: host.KindTimeout},
	{name: "stopped", do: order{Do: "stop"}, kind: host.KindTimeout},
	{name: "a process in another session", do: order{Do: "child", S: "session"}},
}

// plan says what the item at each place does. One in every so many is of the deeds, at a random place among them; each deed has its turn
// before one comes again.
type plan struct {
	seed  uint64
	every int
	deeds []deed
}

// fine is what all other items do.
var fine = deed{name: "good", do: order{Do: "echo", S: "good"}}

// at returns the deed at a place.
func (p *plan) at(i int) *deed {
	block := i / p.every
	if i%p.every != rand.New(rand.NewPCG(p.seed, uint64(block))).IntN(p.every) {
		return &fine
	}
	round := rand.New(rand.NewPCG(^p.seed, uint64(block/len(p.deeds))))
	return &p.deeds[round.Perm(len(p.deeds))[block%len(p.deeds)]]
}

func (p *plan) items(n int) iter.Seq[trouble] {
	return func(yield func(trouble) bool) {
		for i := range n {
			if !yield(trouble{Index: i, order: p.at(i).do}) {
				return
			}
		}
	}
}

// check says what is wrong with what became of an item, "" if nothing is.
func (d *deed) check(r host.Result[outcome]) string {
	switch {
	case d.kind == "" && r.Err != nil:
		return fmt.Sprintf("got the error %v after %d attempts, want a result", r.Err, r.Attempts)
	case d.kind == "":
		if r.Value.Index != r.Index || r.Value.Value != valueOf(r.Index) || d.do.Do == "echo" && r.Value.Said != d.do.S {
			return fmt.Sprintf("got %.100v, want the result of item %d", r.Value, r.Index)
		}
	case r.Err == nil:
		return fmt.Sprintf("got the result %.100v, want the error %s", r.Value, d.kind)
	case r.Err.Kind != d.kind || r.Err.Index != r.Index:
		return fmt.Sprintf("got the error %s of item %d after %d attempts (%v), want %s; it said %.500q", r.Err.Kind, r.Err.Index, r.Attempts, r.Err, d.kind, r.Err.Stderr)
	case d.kind == host.KindCrashed && !d.either && (r.Err.ExitCode != d.code || r.Err.Signal != d.signal):
		return fmt.Sprintf("got exit code %d and signal %q, want %d and %q", r.Err.ExitCode, r.Err.Signal, d.code, d.signal)
	}
	return ""
}

// isolating are the ways to run items that outlive what an item does.
var isolating = map[string]host.Config{
	"process":            {},
	"process, inline":    {Inline: true},
	"process, 4 threads": {Threads: 4},
	"process, standby":   {Standby: 1, MaxItems: 500},
}

// rampage runs a plan on a pool, and checks that each item gets what it should and that nothing is left in the end. If kill is set, workers
// are also killed from outside. It returns how many items ended in each way.
func rampage(t *testing.T, cfg host.Config, plan *plan, kill bool) map[host.Kind]int {
	t.Helper()
	t.Setenv("TMPDIR", shortDir(t))
	mark := fmt.Sprintf("%d-%d", os.Getpid(), rand.Uint64())
	checkGoroutines(t)
	before := takeFootprint(t)
	events := new(tallyer)
	cfg.Workload, cfg.Workers, cfg.Observer, cfg.Env = mayhem, 4, events, []string{markEnv + "=" + mark}
	cfg.ItemTimeout, cfg.Grace, cfg.MaxResultBytes = time.Second, 100*time.Millisecond, chaosMaxResult
	p := open(t, cfg)
	stop, kills := make(chan struct{}), 0
	var killer sync.WaitGroup
	if kill {
		killer.Go(func() { kills = killSome(p, plan, stop) })
	}
	run := typed[trouble, outcome](p).Stream
	if plan.seed%2 == 1 {
		run = typed[trouble, outcome](p).Unordered
	}
	n := *chaosItems
	seen := make([]bool, n)
	ends := map[host.Kind]int{}
	complaints, next := 0, 0
	var peaks [2]int // of the host's own memory, in each half
	begun := time.Now()
	for r, err := range run(t.Context(), plan.items(n)) {
		if err != nil {
			t.Fatal(err)
		}
		d := plan.at(r.Index)
		complaint := d.check(r)
		if complaint != "" && before.mistaken(t, r.Err) {
			t.Logf("item %d (%s): %s; something else on this machine was out of memory", r.Index, d.name, complaint)
			complaint = ""
		}
		switch {
		case seen[r.Index]:
			complaint = "has come twice"
		case plan.seed%2 == 0 && r.Index != next:
			complaint = fmt.Sprintf("has come in the place of %d", next)
		}
		if complaint != "" {
			t.Errorf("item %d (%s): %s", r.Index, d.name, complaint)
			if complaints++; complaints > 20 {
				t.Fatal("and so on")
			}
		}
		seen[r.Index] = true
		kind := host.Kind("")
		if r.Err != nil {
			kind = r.Err.Kind
		}
		ends[kind]++
		if next++; next%max(1, n/20) == 0 {
			own, _ := resident(t, true)
			half := min(1, 2*next/n)
			peaks[half] = max(peaks[half], own)
		}
	}
	took := time.Since(begun)
	close(stop)
	killer.Wait()
	within(t, "Close", 5*time.Second, func() { p.Close() })
	if next != n {
		t.Errorf("got the outcome of %d items, want %d", next, n)
	}
	const most = 32 << 20
	if peaks[1] > peaks[0]+most {
		t.Errorf("memory of the host: got up to %d MiB in the first half and %d MiB in the second, want at most %d MiB more", peaks[0]>>20, peaks[1]>>20, most>>20)
	}
	checkLeft(t, before, mark)
	t.Logf("%d items in %v: %d results, failures %v; %d workers started, %d killed from outside; the host had up to %d MiB in the first half, %d MiB in the second",
		n, took.Round(time.Millisecond), ends[""], failures(ends), events.started(), kills, peaks[0]>>20, peaks[1]>>20)
	return ends
}

func failures(ends map[host.Kind]int) map[host.Kind]int {
	failed := maps.Clone(ends)
	delete(failed, "")
	return failed
}

// killSome kills a worker now and then until stop is closed, and returns how many. It spares those that are about an item which is no good
// one: what is killed twice from outside is rightly told as crashed, whatever it was about to do.
func killSome(p *host.Pool, plan *plan, stop <-chan struct{}) (kills int) {
	dice := rand.New(rand.NewPCG(plan.seed, 1<<63))
	for {
		select {
		case <-stop:
			return kills
		case <-time.After(time.Duration(dice.IntN(200)) * time.Millisecond):
		}
		ws := slices.DeleteFunc(p.Workers(), func(w host.WorkerInfo) bool { return busyWithTrouble(w, plan) })
		if len(ws) > 0 && killWorker(p, ws[dice.IntN(len(ws))].PID) {
			kills++
		}
	}
}

func busyWithTrouble(w host.WorkerInfo, plan *plan) bool {
	return slices.ContainsFunc(w.Running, func(r host.Running) bool { return plan.at(r.Index) != &fine })
}

// killWorker kills a process if it is a worker of the pool, and nobody else who was given its number.
func killWorker(p *host.Pool, pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false // gone already
	}
	defer unix.Close(fd)
	if !slices.ContainsFunc(p.Workers(), func(w host.WorkerInfo) bool { return w.PID == pid }) {
		return false
	}
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
}

// tallyer counts the workers of a pool.
type tallyer struct {
	mu      sync.Mutex
	workers int
	reasons map[string]int
}

func (c *tallyer) Observe(e host.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := e.(type) {
	case host.WorkerStarted:
		c.workers++
	case host.WorkerEnded:
		if c.reasons == nil {
			c.reasons = map[string]int{}
		}
		c.reasons[e.Reason]++
	}
}

func (c *tallyer) started() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.workers
}

// Whatever items do, and whoever kills workers meanwhile: each good item has its result, each bad one its own error, and in the end nothing
// is left of it.
func TestChaos(t *testing.T) {
	s := seed(t)
	for name, cfg := range isolating {
		t.Run(name, func(t *testing.T) {
			every := max(2, *chaosItems/max(len(deeds), *chaosItems/100))
			deeds := slices.DeleteFunc(slices.Clone(deeds), func(d deed) bool { return d.taints && cfg.Threads > 1 })
			// Without the black box nobody can tell whom to spare.
			rampage(t, cfg, &plan{seed: s, every: every, deeds: deeds}, !cfg.Inline)
		})
	}
}

func TestOneCrashInAHundredItems(t *testing.T) {
	s := seed(t)
	for name, cfg := range isolating {
		t.Run(name, func(t *testing.T) {
			crash := []deed{{name: "exit 3", do: order{Do: "exit", N: 3}, kind: host.KindCrashed, code: 3}}
			ends := rampage(t, cfg, &plan{seed: s, every: 100, deeds: crash}, false)
			if n := *chaosItems; ends[host.KindCrashed] != n/100 || ends[""] != n-n/100 {
				t.Errorf("got %d results and %d crashes, want %d and %d", ends[""], ends[host.KindCrashed], n-n/100, n/100)
			}
		})
	}
}

// lies are what a worker may do wrong that its host can see: from its first words to its results. A message that is too large is not among
// them: it may be an honest one, and ends as oversize, which no other attempt would mend.
var lies = []string{
	"rubbish, ends", "exits", "version", "core", "netrpc", "missing", "deaf", "describe exits", "no manifest", "not ready",
	"too many results", "foreign batch", "a gap", "room that is none", "short column", "no column", "long column", "too many times",
	"errors out of order", "an error out of place", "huge counts", "huge count", "nothing done", "ready twice", "empty answer", "hangs up",
	"message on the stream", "rubbish on the link", "half a frame", "closes the link", "ends the stream, keeps the link",
}

// A worker that lies now and then costs its own life. Its items run again, where they may.
func TestWorkersThatLieNowAndThenCostNoResult(t *testing.T) {
	s := seed(t)
	t.Setenv("TMPDIR", shortDir(t))
	mark := fmt.Sprintf("%d-%d", os.Getpid(), rand.Uint64())
	checkGoroutines(t)
	var starts []string
	for _, i := range rand.New(rand.NewPCG(s, 2)).Perm(len(lies)) {
		starts = append(starts, "", lies[i])
	}
	events := new(tallyer)
	cfg := host.Config{
		Workload: mayhem, Workers: 2, Batch: 10, MaxItems: 20, Retries: len(lies), Observer: events, Env: []string{markEnv + "=" + mark},
		StartTimeout: 2 * time.Second, Grace: 100 * time.Millisecond,
	}
	told := lieNowAndThen(t, &cfg, starts)
	before := takeFootprint(t)
	p := open(t, cfg)
	plan := &plan{seed: s, every: 10, deeds: []deed{fine}}
	for n, deadline := 1, time.Now().Add(time.Minute); told() <= len(starts); n++ { // and until then each item has its result
		next := 0
		for r, err := range typed[trouble, outcome](p).Stream(t.Context(), plan.items(100)) {
			if err != nil {
				t.Fatal(err)
			}
			if complaint := fine.check(r); complaint != "" || r.Index != next {
				t.Fatalf("run %d, item %d: %s", n, next, complaint)
			}
			next++
		}
		if next != 100 || time.Now().After(deadline) {
			t.Fatalf("run %d: got %d results and %d starts, want 100 results, and %d starts by now", n, next, told(), len(starts))
		}
	}
	within(t, "Close", 5*time.Second, func() { p.Close() })
	checkLeft(t, before, mark)
	broke := 0
	for reason, n := range events.reasons {
		if strings.Contains(reason, "broke the protocol") {
			broke += n
		}
		if strings.Contains(reason, "somebody else") {
			t.Errorf("a worker ended: %s; want a reason of its own", reason)
		}
	}
	t.Logf("how workers ended: %v", events.reasons)
	if broke < len(lies)/3 {
		t.Errorf("workers that broke the protocol: got %d, want most of %d lies noticed", broke, len(lies))
	}
}
