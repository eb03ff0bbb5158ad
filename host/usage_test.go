package host_test

import (
	"slices"
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
