package host_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// What host and worker share past gRPC must come through the walls: the arena, the buffers, the link.
func TestConfinedWorkersShareMemoryWithTheirHost(t *testing.T) {
	atLevels(t, walled, func(t *testing.T, policy sandbox.Policy) {
		p := open(t, host.Config{Workload: echoBytes, Sandbox: policy})
		items := make([][]byte, 64)
		for i := range items {
			items[i] = bytes.Repeat([]byte{byte(i)}, 100_000)
		}
		got, err := typed[[]byte, []byte](p).Map(t.Context(), items)
		if err != nil {
			t.Fatal(err)
		}
		for i := range items {
			if !bytes.Equal(got[i], items[i]) {
				t.Fatalf("item %d came back as another", i)
			}
		}
		if level, layers := p.Sandbox(); level != policy.Level || len(layers) == 0 {
			t.Errorf("Sandbox: got %v of %v, want %v of some layers", level, layers, policy.Level)
		}
		busy := open(t, host.Config{Workload: chaos, Sandbox: policy, Workers: 1})
		h := typed[order, string](busy).Start(t.Context(), order{Do: "sleep", N: 60_000})
		for tick := time.NewTicker(time.Millisecond); len(busy.Workers()[0].Running) == 0; <-tick.C { // by the black box alone
			if h.PID() != 0 && time.Since(busy.Workers()[0].Started) > 20*time.Second {
				t.Fatal("the black box does not show the running item")
			}
		}
		h.Cancel()
		adds := open(t, host.Config{Workload: total, Sandbox: policy})
		large := newBuffer[float64](t, adds, 1<<17)
		for i := range large.Slice {
			large.Slice[i] = 1
		}
		if sum, err := value(typed[[]float64, float64](adds).Do(t.Context(), large.Slice)); err != nil || sum != 1<<17 {
			t.Errorf("the sum of what lies in a buffer: got %v, %v, want %v", sum, err, 1<<17)
		}
	})
}

// If the host is root, a worker at basic runs as another user. This user cannot enter every folder of root.
func TestWorkersReachTheirSocketsWhateverTMPDIRIs(t *testing.T) {
	atLevels(t, walled, func(t *testing.T, policy sandbox.Policy) {
		closed := shortDir(t)
		if err := os.Chmod(closed, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("TMPDIR", closed)
		p := open(t, host.Config{Workload: half, Sandbox: policy})
		if got, err := value(typed[int, int](p).Do(t.Context(), 4)); err != nil || got != 2 {
			t.Errorf("Do: got %v, %v, want 2", got, err)
		}
		p, err := host.Open(t.Context(), host.Config{Workload: half, Sandbox: policy, TempDir: closed})
		if err == nil {
			p.Close()
		}
		if os.Geteuid() != 0 || policy.Level != sandbox.Basic {
			if err != nil {
				t.Errorf("Open with a folder that workers can enter: got %v", err)
			}
			return
		}
		stage, ok := errors.AsType[*sandbox.StageError](err)
		if !ok || stage.Stage != "sockets" || !strings.Contains(err.Error(), closed+" has mode 0700") || stage.Hint == "" {
			t.Errorf("Open with a folder that workers cannot enter: got %v, want the folder, its mode, and what to do", err)
		}
	})
}

func TestACrashInASandboxCostsOneItem(t *testing.T) {
	atLevels(t, walled, func(t *testing.T, policy sandbox.Policy) {
		p := open(t, host.Config{Workload: chaos, Sandbox: policy, ItemTimeout: 2 * time.Second, Grace: 200 * time.Millisecond})
		got, err := typed[order, string](p).Map(t.Context(), orders(200, map[int]order{
			20: {Do: "exit", N: 7, S: "last words"}, 60: {Do: "panic", S: "ouch"}, 100: {Do: "segfault"}, 140: {Do: "overflow"}, 180: {Do: "spin"},
		}))
		errs := checkOthers(t, "Map", got, err)
		for i, kind := range map[int]host.Kind{20: host.KindCrashed, 60: host.KindPanicked, 100: host.KindCrashed, 140: host.KindCrashed, 180: host.KindTimeout} {
			if errs[i] == nil || errs[i].Kind != kind {
				t.Errorf("item %d: got %v, want %s", i, errs[i], kind)
			}
		}
		if len(errs) != 5 {
			t.Errorf("failed items: got %v, want five", indexes(errs))
		}
		if e := errs[20]; e != nil && (e.ExitCode != 7 || !slices.Contains(e.Stderr, "last words")) {
			t.Errorf("item 20: got %+v, want exit code 7 and its last words", e)
		}
	})
}

func TestAMemoryLimitCostsTheItemThatPassesIt(t *testing.T) {
	atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
		policy.MemoryBytes = 256 << 20
		p := open(t, host.Config{Workload: chaos, Sandbox: policy})
		got, err := typed[order, string](p).Map(t.Context(), orders(100, map[int]order{50: {Do: "hoard"}}))
		errs := checkOthers(t, "Map", got, err)
		if len(errs) != 1 || errs[50] == nil || errs[50].Kind != host.KindOutOfMemory {
			t.Errorf("got %v, want item 50 out of memory", errs)
		}
	})
}

func TestOnlyProcessesAreConfined(t *testing.T) {
	_, err := host.Open(t.Context(), host.Config{Workload: half, Mode: host.ModeGoroutine, Sandbox: sandbox.Policy{MemoryBytes: 1 << 30}})
	if e, ok := errors.AsType[*host.ConfigError](err); !ok || e.Field != "Sandbox" {
		t.Errorf("Open of goroutines with a limit: got %v, want a ConfigError of Sandbox", err)
	}
}
