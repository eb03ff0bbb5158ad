package host_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host"
)

// recorder keeps all events.
type recorder struct {
	mu     sync.Mutex
	events []host.Event
}

func (r *recorder) Observe(e host.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// ofKind returns the events of one kind.
func ofKind[E host.Event](r *recorder) []E {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kind []E
	for _, e := range r.events {
		if e, ok := e.(E); ok {
			kind = append(kind, e)
		}
	}
	return kind
}

func TestEveryModeTellsTheSameEvents(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			events := new(recorder)
			p := open(t, host.Config{Workload: chaos, Mode: mode, Observer: events})
			_, err := typed[order, string](p).Map(t.Context(), orders(100, map[int]order{
				5: {Do: "fail", S: "no"}, 50: {Do: "progress"}, 80: {Do: "panic", S: "ouch"},
			}))
			mapErrors(t, "Map", err)
			if err := p.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, e := range events.events {
				kinds = append(kinds, strings.TrimPrefix(reflect.TypeOf(e).String(), "host."))
			}
			slices.Sort(kinds)
			if d := cmp.Diff([]string{"BatchDone", "BatchSent", "ItemFailed", "ItemProgress", "Sampled", "WorkerEnded", "WorkerStarted"}, slices.Compact(kinds)); d != "" {
				t.Errorf("kinds of events (-want +got):\n%s", d)
			}

			var seen, sent [100]int
			for _, e := range ofKind[host.BatchSent](events) {
				for i := e.First; i < e.First+e.Items; i++ {
					sent[i]++
				}
			}
			for i, n := range sent {
				if n == 0 {
					t.Errorf("item %d was never sent", i)
				}
			}
			var failures int
			for _, e := range ofKind[host.BatchDone](events) {
				failures += e.Failed
				for i := range e.Items {
					if e.Place(i) != e.First+i || e.Time(i) < 0 || e.Time(i) > e.Run {
						t.Errorf("item %d of %+v: got the place %d and %v", i, e, e.Place(i), e.Time(i))
					}
				}
				for i := e.First; i < e.First+e.Items; i++ {
					seen[i]++
				}
				if e.Worker == 0 || e.PID == 0 || e.Run < 0 || e.Wait < 0 || e.Trip < 0 {
					t.Errorf("got %+v, want a worker and no negative times", e)
				}
			}
			for i, n := range seen {
				if n != 1 {
					t.Errorf("item %d is part of %d batches that are done, want 1", i, n)
				}
			}
			var failed []int
			for _, e := range ofKind[host.ItemFailed](events) {
				failed = append(failed, e.Place)
				if e.Worker == 0 || e.Err.Index != e.Place || e.Late || e.Blamed {
					t.Errorf("got %+v, want the item's own place and its worker, and that it was part of a batch", e)
				}
			}
			slices.Sort(failed)
			if failures != 2 {
				t.Errorf("got %d failures in batches, want 2", failures)
			}
			if d := cmp.Diff([]int{5, 80}, failed); d != "" {
				t.Errorf("items that failed (-want +got):\n%s", d)
			}
			var fractions []float64
			for _, e := range ofKind[host.ItemProgress](events) {
				if e.Item != 50 {
					t.Errorf("progress of item %d, want 50", e.Item)
				}
				fractions = append(fractions, e.Fraction)
			}
			if d := cmp.Diff([]float64{0, 0.25, 0.5, 0.75}, fractions); d != "" {
				t.Errorf("progress (-want +got):\n%s", d)
			}
			started, ended := ofKind[host.WorkerStarted](events), ofKind[host.WorkerEnded](events)
			if len(started) != len(ended) {
				t.Errorf("got %d workers started and %d ended, want the same", len(started), len(ended))
			}
			items := 0
			for _, e := range ended {
				items += e.Items
			}
			if items != 100 {
				t.Errorf("items of all workers: got %d, want 100", items)
			}
		})
	}
}

func TestCrashesAddUp(t *testing.T) {
	events := new(recorder)
	p := open(t, host.Config{Workload: chaos, Observer: events})
	_, err := typed[order, string](p).Map(t.Context(), orders(500, map[int]order{100: {Do: "exit", N: 1}, 400: {Do: "exit", N: 1}}))
	mapErrors(t, "Map", err)
	p.AwaitObserver()
	done := 0
	for _, e := range ofKind[host.BatchDone](events) {
		done += e.Items
	}
	for _, e := range ofKind[host.ItemFailed](events) {
		if !e.Blamed || e.Worker == 0 {
			t.Errorf("got %+v, want that its worker died of it", e)
		}
	}
	if failed := len(ofKind[host.ItemFailed](events)); done != 498 || failed != 2 {
		t.Errorf("got %d items done and %d failed, want 498 and 2", done, failed)
	}
	for _, e := range ofKind[host.WorkerEnded](events) {
		if !strings.Contains(e.Reason, "exit code 1") {
			t.Errorf("a worker that died: got the reason %q, want its exit code", e.Reason)
		}
	}
}

// sink is an hclog sink that keeps lines.
type sink struct {
	mu    sync.Mutex
	lines []string
}

func (s *sink) Accept(name string, level hclog.Level, msg string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprint(name, " ", level, " ", msg, " ", args))
}

func TestTheWorkloadsLoggerReachesTheHost(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			s := new(sink)
			logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: discard{}})
			logger.RegisterSink(s)
			p := open(t, host.Config{Workload: chaos, Mode: mode, Workers: 1, Logger: logger})
			long := strings.Repeat("long ", 1000) // more than a line of a record holds
			for _, said := range []string{"hello", long} {
				if _, err := value(typed[order, string](p).Do(t.Context(), order{Do: "log", S: said})); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Shutdown(t.Context()); err != nil { // all is read by then
				t.Fatal(err)
			}
			for _, want := range []string{"hello", long} {
				if !slices.ContainsFunc(s.lines, func(line string) bool {
					return strings.Contains(line, "chaos warn from the workload") && strings.Contains(line, want) &&
						strings.Contains(line, "worker 1") && strings.Contains(line, "item 0")
				}) {
					t.Errorf("what the workload logged: got %.300q, want %.20q with its worker and item", s.lines, want)
				}
			}
		})
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// What a caller takes of a run after the pool has ended is no event any more: Close has returned.
func TestAnObserverIsNotCalledAfterClose(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			var closed atomic.Bool
			p := open(t, host.Config{Workload: chaos, Mode: mode, Workers: 1, Observer: observerFunc(func(e host.Event) {
				if closed.Load() {
					t.Errorf("called with %T after Close", e)
				}
			})})
			refuse := func() { panic("no") } // in UnmarshalJSON, so that each result that is taken is an item that failed
			onUnmarshal.Store(&refuse)
			defer onUnmarshal.Store(nil)
			for _, err := range typed[order, unmarshaled](p).Stream(t.Context(), slices.Values(orders(2000, nil))) {
				if err != nil {
					break
				}
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
				closed.Store(true)
			}
		})
	}
}
