package host_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
)

// What an item uses comes with its result: of long items in processes, and of them alone.
func TestAResultSaysWhatItsItemUsed(t *testing.T) {
	needUnix(t, "getrusage")
	pools(t, host.Config{Workload: chaos, Workers: 1}, func(t *testing.T, p *host.Pool) {
		items := []order{{Do: "sleep", N: 50}, {Do: "burn", N: 300}, {Do: "sleep", N: 50}}
		var used []*host.Usage
		for r, err := range typed[order, string](p).Stream(t.Context(), slices.Values(items)) {
			if err != nil || r.Err != nil {
				t.Fatal(err, r.Err)
			}
			used = append(used, r.Usage)
		}
		if p.Workers()[0].Mode != host.ModeProcess {
			if slices.ContainsFunc(used, func(u *host.Usage) bool { return u != nil }) {
				t.Errorf("got %v of goroutines, which share a process", used)
			}
			return
		}
		for i, u := range used {
			switch cpu := u.User + u.System; {
			case u.MaxRSS < 1<<20 || u.MaxRSS > 1<<40:
				t.Errorf("item %d: got a resident set of %d bytes", i, u.MaxRSS)
			case items[i].Do == "burn" && cpu < 30*time.Millisecond, items[i].Do == "sleep" && cpu > 20*time.Millisecond:
				t.Errorf("item %d, which is to %s: got %v of CPU time", i, items[i].Do, cpu)
			case items[i].Do == "sleep" && u.Voluntary == 0:
				t.Errorf("item %d has slept, and got no voluntary context switch", i)
			}
		}
	})
}

// Short items are not counted, because counting takes two microseconds.
func TestShortItemsAreNotCounted(t *testing.T) {
	p := open(t, host.Config{Workload: half, Workers: 1})
	items := make([]float64, 10_000)
	counted := 0
	for r, err := range typed[float64, float64](p).Stream(t.Context(), slices.Values(items)) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Usage != nil {
			counted++
		}
	}
	if counted > 100 {
		t.Errorf("%d of %d items were counted", counted, len(items))
	}
}

// An item that uses more CPU time than it may is ended alone: one that listens to its context, and one that does not. Items that only wait do not count.
func TestAnItemBeyondItsCPUTimeIsEndedAlone(t *testing.T) {
	needCPU(t)
	for _, do := range []string{"burn", "spin"} {
		for _, inline := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, inline %v", do, inline), func(t *testing.T) {
				p := open(t, host.Config{Workload: chaos, Workers: 1, Batch: 4, ItemCPU: 100 * time.Millisecond, Grace: 200 * time.Millisecond, Inline: inline})
				items := slices.Repeat([]order{{Do: "sleep", N: 150}}, 4)
				items[2] = order{Do: do, N: 60_000}
				_, err := typed[order, string](p).Map(t.Context(), items)
				failed, ok := errors.AsType[*host.MapError](err)
				if !ok || len(failed.Errs) != 1 || failed.Errs[0].Index != 2 || failed.Errs[0].Kind != host.KindTimeout {
					t.Fatalf("got %v, want item 2 alone beyond its time", err)
				}
				if message := failed.Errs[0].Message; !strings.Contains(message, "of CPU time, the limit is 100ms") {
					t.Errorf("got %q, want what it used and the limit", message)
				}
			})
		}
	}
}

// A workload that takes many items at once gets them one by one, so that none pays for the others.
func TestABatchFunctionHasALimitOfCPUTimeForEachItem(t *testing.T) {
	needCPU(t)
	p := open(t, host.Config{Workload: burnMany, Workers: 1, Batch: 10, ItemCPU: 200 * time.Millisecond})
	if _, err := typed[int, int](p).Map(t.Context(), make([]int, 10)); err != nil {
		t.Errorf("got %v, want all items done: each uses 30 ms", err)
	}
}

func TestALimitOfCPUTimeNeedsAProcessForEachItem(t *testing.T) {
	for name, cfg := range map[string]host.Config{
		"a goroutine": {Workload: chaos, Mode: host.ModeGoroutine, ItemCPU: time.Second}, "threads": {Workload: chaos, Threads: 2, ItemCPU: time.Second},
		"a negative one": {Workload: chaos, ItemCPU: -1},
	} {
		_, err := host.Open(t.Context(), cfg)
		if bad, ok := errors.AsType[*host.ConfigError](err); !ok || bad.Field != "ItemCPU" {
			t.Errorf("%s: got %v, want a ConfigError of ItemCPU", name, err)
		}
	}
}

func needCPU(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the CPU time of a process can be read on Linux alone")
	}
}
