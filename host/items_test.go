package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

func TestDoReturnsTheResult(t *testing.T) {
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		if got, err := value(typed[float64, float64](p).Do(t.Context(), 5)); err != nil || got != 2.5 {
			t.Errorf("Do of half of 5: got %v, %v, want 2.5", got, err)
		}
		_, err := value(typed[float64, float64](p).Do(t.Context(), -1))
		e := itemError(t, "Do of half of -1", err, host.KindFailed)
		if e.Message != "-1 is negative" || e.Index != 0 || e.Attempts != 1 || !errors.Is(err, host.ErrFailed) {
			t.Errorf("Do of half of -1: got %+v, want the workload's words and one attempt", e)
		}
	})
}

func TestMapKeepsOrder(t *testing.T) {
	for name, cfg := range map[string]host.Config{
		"batches by measure":     {Workload: half},
		"one item each":          {Workload: half, Batch: 1},
		"odd batches, 4 threads": {Workload: half, Batch: 7, Threads: 4},
		"no window":              {Workload: half, Window: 1},
	} {
		t.Run(name, func(t *testing.T) {
			pools(t, cfg, func(t *testing.T, p *host.Pool) {
				for _, n := range []int{0, 1, 2, rand.IntN(100), 1000 + rand.IntN(3000)} {
					got, err := typed[float64, float64](p).Map(t.Context(), upTo(n))
					if err != nil || len(got) != n {
						t.Fatalf("Map of %d items: got %d results, %v", n, len(got), err)
					}
					for i, v := range got {
						if v != float64(i)/2 {
							t.Fatalf("result %d of %d: got %v, want %v", i, n, v, float64(i)/2)
						}
					}
				}
			})
		})
	}
}

func TestMapOfManyItems(t *testing.T) {
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		const n = 200_000
		got, err := typed[float64, float64](p).Map(t.Context(), upTo(n))
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			if v != float64(i)/2 {
				t.Fatalf("result %d: got %v, want %v", i, v, float64(i)/2)
			}
		}
	})
}

func TestMapReportsEveryItemThatFailed(t *testing.T) {
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		items := upTo(1000)
		want := []int{0, 17, 500, 999}
		for _, i := range want {
			items[i] = -1
		}
		got, err := typed[float64, float64](p).Map(t.Context(), items)
		errs := mapErrors(t, "Map with four bad items", err)
		if d := cmp.Diff(want, indexes(errs)); d != "" {
			t.Errorf("items that failed (-want +got):\n%s", d)
		}
		for i, v := range got {
			if want := max(0, items[i]/2); v != want {
				t.Fatalf("result %d: got %v, want %v", i, v, want)
			}
		}
		if !errors.Is(err, host.ErrFailed) || errors.Is(err, host.ErrCrashed) {
			t.Errorf("errors.Is of the MapError: got %v, %v, want it to match ErrFailed alone", errors.Is(err, host.ErrFailed), errors.Is(err, host.ErrCrashed))
		}
	})
}

// seq yields the numbers from 0 to n-1 and counts how many it has given.
func seq(n int, given *atomic.Int64) iter.Seq[float64] {
	return func(yield func(float64) bool) {
		for i := range n {
			given.Add(1)
			if !yield(float64(i)) {
				return
			}
		}
	}
}

func TestStreamYieldsEveryResultInOrder(t *testing.T) {
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		for _, n := range []int{0, 1, 10 + rand.IntN(5000)} {
			var given atomic.Int64
			i := 0
			for r, err := range typed[float64, float64](p).Stream(t.Context(), seq(n, &given)) {
				if err != nil {
					t.Fatalf("Stream of %d items: got the error %v", n, err)
				}
				if r.Index != i || r.Value != float64(i)/2 || r.Err != nil || r.Attempts != 1 || r.Worker == 0 || r.PID == 0 {
					t.Fatalf("result %d: got %+v", i, r)
				}
				i++
			}
			if i != n {
				t.Fatalf("Stream of %d items: got %d results", n, i)
			}
		}
	})
}

func TestUnorderedYieldsEveryResultOnce(t *testing.T) {
	pools(t, host.Config{Workload: half, Batch: 3}, func(t *testing.T, p *host.Pool) {
		n := 2000 + rand.IntN(1000)
		var given atomic.Int64
		seen := make([]bool, n)
		for r, err := range typed[float64, float64](p).Unordered(t.Context(), seq(n, &given)) {
			if err != nil {
				t.Fatal(err)
			}
			if seen[r.Index] || r.Value != float64(r.Index)/2 {
				t.Fatalf("got %+v, seen before: %v", r, seen[r.Index])
			}
			seen[r.Index] = true
		}
		if i := slices.Index(seen, false); i >= 0 {
			t.Errorf("Unordered of %d items: got no result for item %d", n, i)
		}
	})
}

func TestUnorderedDoesNotWaitForTheSlowest(t *testing.T) {
	cfg := host.Config{Workload: chaos, Batch: 1}
	for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine} {
		t.Run(string(mode), func(t *testing.T) {
			cfg := cfg
			cfg.Mode = mode
			p := open(t, cfg)
			gate := t.TempDir() + "/gate"
			items := slices.Values([]order{{Do: "await", S: gate}, {Do: "echo"}, {Do: "echo"}, {Do: "echo"}})
			var last int
			n := 0
			for r, err := range typed[order, string](p).Unordered(t.Context(), items) {
				if err != nil {
					t.Fatal(err)
				}
				if last, n = r.Index, n+1; n == 3 {
					removeWhenThere(t, gate)
				}
			}
			if n != 4 || last != 0 {
				t.Errorf("got %d results, the last of item %d, want 4 and item 0", n, last)
			}
		})
	}
}

// A worker gets its next batch before it has ended the one before. If that one turns out to be long, the next one goes to a worker that has nothing to do.
func TestALongItemHoldsUpNoOther(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 2, Batch: 1})
	gate := t.TempDir() + "/gate"
	items := slices.Repeat([]order{{Do: "echo"}}, 1000)
	items = append(items, order{Do: "await", S: gate})
	items = append(items, slices.Repeat([]order{{Do: "sleep", N: 30}}, 100)...)
	n := 0
	within(t, "a run with a long item", 20*time.Second, func() {
		for _, err := range typed[order, string](p).Unordered(t.Context(), slices.Values(items)) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == len(items)-1 { // all but the long item
				removeWhenThere(t, gate)
			}
		}
	})
	if n != len(items) {
		t.Errorf("got %d results, want %d", n, len(items))
	}
}

// A producer that asks for the result of one item before it makes the next must never wait in vain.
func TestStreamRunsWhatItHasWhileTheInputWaits(t *testing.T) {
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		within(t, "100 items one by one", 20*time.Second, func() {
			next := make(chan float64, 1)
			next <- 0
			items := func(yield func(float64) bool) {
				for x := range next {
					if !yield(x) {
						return
					}
				}
			}
			for r, err := range typed[float64, float64](p).Stream(t.Context(), items) {
				if err != nil {
					t.Error(err)
				}
				if r.Index == 99 {
					close(next)
					continue
				}
				next <- float64(r.Index + 1)
			}
		})
	})
}

func TestStreamReadsOnlySoFarAhead(t *testing.T) {
	for name, c := range map[string]struct {
		items iter.Seq[string]
		most  int64
	}{
		"small items": {repeat("x"), 400_000},
		"large items": {repeat(strings.Repeat("x", 1<<18)), 600},
	} {
		t.Run(name, func(t *testing.T) {
			pools(t, host.Config{Workload: echoString}, func(t *testing.T, p *host.Pool) {
				var given, ahead atomic.Int64
				items := func(yield func(string) bool) {
					for s := range c.items {
						given.Add(1)
						if !yield(s) {
							return
						}
					}
				}
				n := 0
				for r, err := range typed[string, string](p).Stream(t.Context(), items) {
					if err != nil {
						t.Fatal(err)
					}
					ahead.Store(max(ahead.Load(), given.Load()-int64(r.Index)))
					if n++; n == 100 {
						break
					}
				}
				if got := ahead.Load(); got > c.most {
					t.Errorf("an endless input: got %d items ahead of the consumer, want at most %d", got, c.most)
				}
			})
		})
	}
}

func repeat(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for yield(s) {
		}
	}
}

func TestBreakingTheLoopEndsReadingAndCancels(t *testing.T) {
	pools(t, host.Config{Workload: chaos, Batch: 1}, func(t *testing.T, p *host.Pool) {
		ended := make(chan struct{})
		items := func(yield func(order) bool) {
			defer close(ended)
			for yield(order{Do: "echo"}) && yield(order{Do: "sleep", N: 60_000}) {
			}
		}
		within(t, "a loop that breaks while items sleep", 5*time.Second, func() {
			for _, err := range typed[order, string](p).Unordered(t.Context(), items) {
				if err != nil {
					t.Error(err)
				}
				break
			}
			<-ended
		})
		if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "echo", S: "again"})); err != nil || got != "again" {
			t.Errorf("the pool afterwards: got %q, %v", got, err)
		}
	})
}

func TestAnEndedContextEndsTheRunWithItsCause(t *testing.T) {
	cause := errors.New("enough")
	pools(t, host.Config{Workload: chaos}, func(t *testing.T, p *host.Pool) {
		for name, run := range map[string]func(ctx context.Context, o order) error{
			"Do": func(ctx context.Context, o order) error {
				_, err := value(typed[order, string](p).Do(ctx, o))
				return err
			},
			"Map": func(ctx context.Context, o order) error {
				_, err := typed[order, string](p).Map(ctx, []order{o, o, o, o, o})
				return err
			},
			"Stream": func(ctx context.Context, o order) error {
				for _, err := range typed[order, string](p).Stream(ctx, slices.Values([]order{o, o, o})) {
					if err != nil {
						return err
					}
				}
				return nil
			},
			"Start": func(ctx context.Context, o order) error {
				_, err := typed[order, string](p).Start(ctx, o).Wait(t.Context())
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				begun := t.TempDir() + "/begun"
				go func() {
					waitFile(t, begun)
					cancel(cause)
				}()
				within(t, name+" with a canceled context", 5*time.Second, func() {
					if err := run(ctx, order{Do: "hold", S: begun}); !errors.Is(err, cause) {
						t.Errorf("%s: got %v, want the context's cause", name, err)
					}
				})
			})
		}
		if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "echo", S: "again"})); err != nil || got != "again" {
			t.Errorf("the pool afterwards: got %q, %v", got, err)
		}
	})
}

func TestDoWithEveryWorkerBusyEndsWithItsContext(t *testing.T) {
	pools(t, host.Config{Workload: chaos, Workers: 1}, func(t *testing.T, p *host.Pool) {
		begun := t.TempDir() + "/begun"
		h := typed[order, string](p).Start(t.Context(), order{Do: "hold", S: begun})
		waitFile(t, begun)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := value(typed[order, string](p).Do(ctx, order{Do: "echo"})); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Do with every worker busy: got %v, want a deadline error", err)
		}
		h.Cancel()
		<-h.Done()
	})
}

func TestHandle(t *testing.T) {
	pools(t, host.Config{Workload: chaos}, func(t *testing.T, p *host.Pool) {
		h := typed[order, string](p).Start(t.Context(), order{Do: "pid"})
		got, err := value(h.Wait(t.Context()))
		if code, ok := h.ExitCode(); err != nil || got != fmt.Sprint(h.PID()) || code != 0 || !ok {
			t.Errorf("a handle of pid: got %q, %v, PID %d, exit code %d, %v", got, err, h.PID(), code, ok)
		}
		h = typed[order, string](p).Start(t.Context(), order{Do: "sleep", N: 60_000})
		if code, ok := h.ExitCode(); ok {
			t.Errorf("ExitCode while the item runs: got %d, want none", code)
		}
		h.Cancel()
		if _, err := h.Wait(t.Context()); !errors.Is(err, host.ErrCanceled) {
			t.Errorf("Wait after Cancel: got %v, want ErrCanceled", err)
		}
	})
}

// roundTrip checks that an echo returns what it is given.
func roundTrip[T any](t *testing.T, w sdk.AnyWorkload, values ...T) {
	t.Helper()
	pools(t, host.Config{Workload: w}, func(t *testing.T, p *host.Pool) {
		got, err := typed[T, T](p).Map(t.Context(), values)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(values, got, protocmp.Transform()); d != "" {
			t.Errorf("echo of %T (-want +got):\n%s", *new(T), d)
		}
	})
}

func TestValuesOfEveryKindTravel(t *testing.T) {
	t.Run("string", func(t *testing.T) { roundTrip(t, echoString, "", "a\nb", "grüße", strings.Repeat("x", 1<<20)) })
	t.Run("bytes", func(t *testing.T) { roundTrip(t, echoBytes, []byte("\x00\xff"), []byte("b")) })
	t.Run("floats", func(t *testing.T) { roundTrip(t, echoFloats, []float64{1, 2.5}, upTo(10_000)) })
	t.Run("int", func(t *testing.T) { roundTrip(t, echoInt, 0, -1, math.MaxInt) })
	t.Run("struct", func(t *testing.T) { roundTrip(t, echoOrder, order{Do: "x", N: 3}, order{}) })
	t.Run("raw JSON", func(t *testing.T) { roundTrip(t, echoJSON, json.RawMessage(`{"a":[1]}`), json.RawMessage("null")) })
	t.Run("any", func(t *testing.T) {
		roundTrip[any](t, echoAny, "s", json.Number("1.50"), nil, map[string]any{"k": []any{true}})
	})
	t.Run("proto", func(t *testing.T) {
		roundTrip(t, echoProto, structpb.NewStringValue("s"), structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewNumberValue(1)}}))
	})
}

func TestOtherTypesTravelAsJSON(t *testing.T) {
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		if got, err := typed[int, float32](p).Map(t.Context(), []int{1, 2, 3}); err != nil || !cmp.Equal(got, []float32{0.5, 1, 1.5}) {
			t.Errorf("Map[int, float32] over float64: got %v, %v", got, err)
		}
		got, err := typed[json.RawMessage, json.RawMessage](p).Map(t.Context(), []json.RawMessage{json.RawMessage("1e2"), json.RawMessage("3")})
		if err != nil || string(got[0]) != "50" || string(got[1]) != "1.5" {
			t.Errorf("Map of JSON texts over float64: got %s, %v", got, err)
		}
	})
}

// A result that does not fit the caller's type is no lie of the worker.
func TestResultsThatDoNotFitFailAlone(t *testing.T) {
	pools(t, host.Config{Workload: half, Batch: 4}, func(t *testing.T, p *host.Pool) {
		before := p.Workers()
		got, err := typed[float64, int](p).Map(t.Context(), upTo(8))
		errs := mapErrors(t, "Map[float64, int] over halves", err)
		if d := cmp.Diff([]int{1, 3, 5, 7}, indexes(errs)); d != "" {
			t.Errorf("items that failed (-want +got):\n%s", d)
		}
		if !cmp.Equal(got, []int{0, 0, 1, 0, 2, 0, 3, 0}) {
			t.Errorf("results of the others: got %v", got)
		}
		_, err = typed[float64, string](p).Map(t.Context(), upTo(3))
		if errs := mapErrors(t, "Map[float64, string] over halves", err); len(errs) != 3 || errs[2].Kind != host.KindFailed {
			t.Errorf("Map[float64, string] over halves: got %v, want three failed items", errs)
		}
		if after := p.Workers(); len(before) != len(after) || before[0].PID != after[0].PID {
			t.Errorf("workers: got %+v after, %+v before, want the same", after, before)
		}
	})
}

func TestItemsThatDoNotDecodeAreBad(t *testing.T) {
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		got, err := typed[json.RawMessage, json.RawMessage](p).Map(t.Context(), []json.RawMessage{
			json.RawMessage("1"), json.RawMessage(`"one"`), json.RawMessage("{"), json.RawMessage(""), json.RawMessage("[1,\n}"), json.RawMessage("4"),
		})
		errs := mapErrors(t, "Map of broken texts", err)
		if d := cmp.Diff([]int{1, 2, 3, 4}, indexes(errs)); d != "" {
			t.Fatalf("items that failed (-want +got):\n%s", d)
		}
		for i, offset := range map[int]int{1: 5, 2: 2, 3: 1, 4: 5} {
			if e := errs[i]; e.Kind != host.KindBadItem || e.Offset != offset {
				t.Errorf("item %d: got %s at byte %d (%s), want bad_item at byte %d", i, e.Kind, e.Offset, e.Message, offset)
			}
		}
		if string(got[0]) != "0.5" || string(got[5]) != "2" {
			t.Errorf("the others: got %s", got)
		}
	})
}

// panicky is an item that cannot be written.
type panicky struct{}

func (panicky) MarshalJSON() ([]byte, error) { panic("no") }

func TestAnItemThatPanicsWhenItIsWrittenIsBad(t *testing.T) {
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		_, err := value(typed[panicky, float64](p).Do(t.Context(), panicky{}))
		_ = itemError(t, "Do of an item whose MarshalJSON panics", err, host.KindBadItem)
	})
}

func TestItemsAndResultsBeyondTheLimitAreOversize(t *testing.T) {
	pools(t, host.Config{Workload: echoString, MaxItemBytes: 1000, MaxResultBytes: 500, Workers: 1}, func(t *testing.T, p *host.Pool) {
		if p.Workers()[0].Mode != host.ModeProcess {
			t.Skip("on goroutines nothing is measured, because nothing is encoded")
		}
		pid := p.Workers()[0].PID
		items := []string{"a", strings.Repeat("x", 1001), "b", strings.Repeat("x", 501), "c"}
		got, err := typed[string, string](p).Map(t.Context(), items)
		errs := mapErrors(t, "Map with two oversize values", err)
		if errs[1] == nil || errs[1].Kind != host.KindOversize || errs[1].Size != 1001 || !strings.Contains(errs[1].Message, "1000") {
			t.Errorf("an item of 1001 bytes: got %v, want oversize with size and limit", errs[1])
		}
		if errs[3] == nil || errs[3].Kind != host.KindOversize || errs[3].Size != 501 || !strings.Contains(errs[3].Message, "500") {
			t.Errorf("a result of 501 bytes: got %v, want oversize with size and limit", errs[3])
		}
		if len(errs) != 2 || got[0] != "a" || got[2] != "b" || got[4] != "c" {
			t.Errorf("the others: got %q, %v", got, errs)
		}
		if p.Workers()[0].PID != pid {
			t.Error("the worker was replaced, want it to stay")
		}
	})
}

// go-plugin's own servers and clients take 4 MiB.
func TestLargeValuesTravelBothWays(t *testing.T) {
	p := open(t, host.Config{Workload: echoString, Workers: 1})
	want := strings.Repeat("parhost ", 20<<20/8)
	if got, err := value(typed[string, string](p).Do(t.Context(), want)); err != nil || got != want {
		t.Errorf("echo of 20 MiB: got %d bytes, %v", len(got), err)
	}
}

func TestBatchFunctionsKeepEveryPromise(t *testing.T) {
	pools(t, host.Config{Workload: squares}, func(t *testing.T, p *host.Pool) {
		items := upTo(500)
		items[13], items[100], items[400] = 1, -1, -2
		got, err := typed[float64, float64](p).Map(t.Context(), items)
		if d := cmp.Diff([]int{100, 400}, indexes(mapErrors(t, "Map over a batch function", err))); d != "" {
			t.Errorf("items that failed (-want +got):\n%s", d)
		}
		for i, x := range items {
			if want := x * x; x >= 0 && got[i] != want {
				t.Fatalf("result %d: got %v, want %v", i, got[i], want)
			}
		}
	})
	pools(t, host.Config{Workload: squares, ItemTimeout: 50 * time.Millisecond, Batch: 10}, func(t *testing.T, p *host.Pool) {
		_, err := typed[float64, float64](p).Map(t.Context(), upTo(20))
		errs := mapErrors(t, "Map over a batch function with a limit", err)
		if len(errs) != 1 || errs[13] == nil || errs[13].Kind != host.KindTimeout {
			t.Errorf("one slow item in a batch: got %v, want item 13 timed out alone", errs)
		}
	})
}

func TestSeveralRunsShareAPool(t *testing.T) {
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		var runs sync.WaitGroup
		for range 8 {
			runs.Go(func() {
				n := rand.IntN(3000)
				got, err := typed[float64, float64](p).Map(t.Context(), upTo(n))
				if err != nil || len(got) != n || n > 0 && got[n-1] != float64(n-1)/2 {
					t.Errorf("one of 8 Maps of %d items: got %d results, %v", n, len(got), err)
				}
			})
		}
		runs.Wait()
	})
}

func TestWorkloadsThatAreNotConcurrentNeverOverlap(t *testing.T) {
	for name, cfg := range map[string]host.Config{"by the manifest": {}, "against the config": {Threads: 4}} {
		t.Run(name, func(t *testing.T) {
			cfg.Workload, cfg.Workers, cfg.Batch = alone, 4, 1
			pools(t, cfg, func(t *testing.T, p *host.Pool) {
				got, err := typed[int, bool](p).Map(t.Context(), make([]int, 200))
				if err != nil {
					t.Fatal(err)
				}
				if n := slices.Index(got, true); n >= 0 {
					t.Errorf("item %d ran while another did in the same process, want one after the other", n)
				}
			})
		})
	}
}

// The same workload without the flag does overlap, or the test above shows nothing.
func TestThreadsRunItemsAtOnce(t *testing.T) {
	p := open(t, host.Config{Workload: threaded, Workers: 1})
	dir := t.TempDir()
	var items []order
	for i := range 4 {
		items = append(items, order{Do: "await", S: fmt.Sprintf("%s/%d", dir, i)})
	}
	go func() {
		for _, o := range items {
			waitFile(t, o.S) // all four have begun
		}
		for _, o := range items {
			removeWhenThere(t, o.S)
		}
	}()
	if _, err := typed[order, string](p).Map(t.Context(), items); err != nil {
		t.Errorf("four items that wait for one another on 4 threads of one process: got %v", err)
	}
}
