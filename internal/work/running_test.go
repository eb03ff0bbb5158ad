package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

func upTo(n int) []float64 {
	items := make([]float64, n)
	for i := range items {
		items[i] = float64(i)
	}
	return items
}

func half(_ context.Context, x float64) (float64, error) { return x / 2, nil }

func TestEveryItemGetsItsResult(t *testing.T) {
	inFormats(t, func(t *testing.T, f Format) {
		for _, n := range []int{0, 1, 63, 64, 65, 1000} {
			o := runJob[float64, float64](t, one(half), f, upTo(n), nil)
			if o.done != n || len(o.errs) > 0 {
				t.Fatalf("%d items: got %d items with %d errors", n, o.done, len(o.errs))
			}
			for i, v := range o.values {
				if v != float64(i)/2 {
					t.Fatalf("result %d of %d: got %v, want %v", i, n, v, float64(i)/2)
				}
			}
		}
	})
}

func TestAnErrorFailsItsItemAlone(t *testing.T) {
	c := one(func(_ context.Context, x int) (string, error) {
		switch x % 10 {
		case 3:
			return "", fmt.Errorf("no %d", x)
		case 7:
			return "", fmt.Errorf("read: %w", &BadItemError{errors.New("seven")})
		}
		return fmt.Sprint(x), nil
	})
	inFormats(t, func(t *testing.T, f Format) {
		items := make([]int, 100)
		for i := range items {
			items[i] = i
		}
		o := runJob[int, string](t, c, f, items, nil)
		for i := range items {
			e := o.errs[i]
			switch {
			case i%10 == 3 && (e == nil || e.Kind != protocol.KindFailed || e.Message != fmt.Sprintf("no %d", i)):
				t.Errorf("item %d: got %v, want failed", i, e)
			case i%10 == 7 && (e == nil || e.Kind != protocol.KindBadItem):
				t.Errorf("item %d: got %v, want bad_item", i, e)
			case i%10 != 3 && i%10 != 7 && (e != nil || o.values[i] != fmt.Sprint(i)):
				t.Errorf("item %d: got %q, %v", i, o.values[i], e)
			}
		}
	})
}

// Items that are not timed take a faster path. They leave it for errors, and when they look at the context.
func TestPlainItemsEndLikeTimedOnes(t *testing.T) {
	c := one(func(ctx context.Context, x float64) (float64, error) {
		switch int(x) % 31 {
		case 3, 4, 30:
			return x, fmt.Errorf("no %v", x)
		case 5:
			ctx.Done()
		case 7:
			return x, ctx.Err()
		case 8:
			return x, fmt.Errorf("read: %w", &BadItemError{errors.New("eight")})
		}
		return -x, nil
	})
	inFormats(t, func(t *testing.T, f Format) {
		for _, n := range []int{2, 64, 65, 500} {
			plain := runJob[float64, float64](t, c, f, upTo(n), nil)
			timed := runJob[float64, float64](t, c, f, upTo(n), func(j *Job) { j.Timed = true })
			if diff := cmp.Diff(timed.values, plain.values); diff != "" {
				t.Errorf("results of %d items (-timed +plain):\n%s", n, diff)
			}
			if diff := cmp.Diff(timed.errs, plain.errs); diff != "" {
				t.Errorf("errors of %d items (-timed +plain):\n%s", n, diff)
			}
		}
	})
}

// After a panic the state of the workload is unknown, so the rest of the batch goes to another worker.
func TestAPanicEndsTheJobAfterItsItem(t *testing.T) {
	for name, f := range map[string]func(){
		"panic":          func() { panic("ouch") },
		"runtime error":  func() { _ = make([]int, 1)[len(name())] },
		"runtime.Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			c := one(func(_ context.Context, x float64) (float64, error) {
				if x == 5 {
					f()
				}
				return x, nil
			})
			inFormats(t, func(t *testing.T, format Format) {
				o := runJob[float64, float64](t, c, format, upTo(10), nil)
				e := o.errs[5]
				if o.done != 6 || e == nil || e.Kind != protocol.KindPanicked || !o.parts[len(o.parts)-1].Leaving {
					t.Fatalf("got %d items, item 5 %v, leaving %v, want 6, a panic and true", o.done, e, o.parts[len(o.parts)-1].Leaving)
				}
				if !strings.Contains(e.Stack, "running_test.go") && name != "runtime.Goexit" {
					t.Errorf("the stack of the panic: got %q, want this file in it", e.Stack)
				}
			})
		})
	}
}

func name() string { return "x" }

// loud is a result whose own MarshalJSON panics.
type loud int

func (l loud) MarshalJSON() ([]byte, error) {
	if l == 2 {
		panic("no JSON for 2")
	}
	return json.Marshal(int(l))
}

func (l *loud) UnmarshalJSON(b []byte) error {
	if string(b) == "7" {
		panic("no 7")
	}
	return json.Unmarshal(b, (*int)(l))
}

func TestAValueWhoseOwnJSONPanicsFailsAlone(t *testing.T) {
	c := one(func(_ context.Context, x loud) (loud, error) { return x - 1, nil })
	for name, f := range map[string]Format{"packed": Packed, "json": JSON} {
		t.Run(name, func(t *testing.T) {
			o := runJob[loud, loud](t, c, f, []loud{1, 3, 5, 7, 9}, nil)
			if o.done != 5 || o.errs[1] == nil || o.errs[1].Kind != protocol.KindPanicked || o.errs[3] == nil || len(o.errs) != 2 {
				t.Errorf("got %d items with the errors %v, want 5, the result of 1 and item 3 panicked", o.done, o.errs)
			}
			if o.values[4] != 8 {
				t.Errorf("the item after them: got %d, want 8", o.values[4])
			}
		})
	}
}

func TestItemsThatDoNotDecodeFailAlone(t *testing.T) {
	var w wire.ColumnWriter
	w.Reset(false)
	for _, s := range []string{"1", `"x"`, "3", ""} {
		w.End(append(w.Begin(), s...))
	}
	o := runJob[float64, float64](t, one(half), JSON, make([]float64, 4), func(j *Job) { j.Items = w.Bytes() })
	if len(o.errs) != 2 || o.errs[1].Kind != protocol.KindBadItem || o.errs[1].Offset != 3 || o.errs[3].Kind != protocol.KindBadItem {
		t.Errorf("got the errors %v, want items 1 and 3 bad, item 1 at byte 3", o.errs)
	}
	if o.values[2] != 1.5 {
		t.Errorf("item 2: got %v, want 1.5", o.values[2])
	}
}

func TestAColumnThatIsNoneFailsAllItsItems(t *testing.T) {
	for name, f := range map[string]Format{"packed": Packed, "json": JSON} {
		t.Run(name, func(t *testing.T) {
			o := runJob[float64, float64](t, one(half), f, upTo(3), func(j *Job) { j.Items = []byte("rubbish") })
			if o.done != 3 || len(o.errs) != 3 {
				t.Errorf("got %d items with %d errors, want 3 with 3", o.done, len(o.errs))
			}
		})
	}
}

// Items may be given one by one instead of as a column. Nothing else changes.
func TestItemsThatLieApartRunLikeAColumn(t *testing.T) {
	for name, format := range map[string]Format{"packed": Packed, "json": JSON} {
		t.Run(name, func(t *testing.T) {
			items := [][]float64{{1, 2}, nil, {3}}
			c := one(func(_ context.Context, xs []float64) (int, error) { return len(xs), nil })
			codec := wire.CodecOf[[]float64]()
			got := runJob[[]float64, int](t, c, format, items, func(j *Job) {
				column, err := wire.OpenColumn(j.Items, len(items), format == Packed && codec.Aligned())
				if err != nil {
					t.Fatal(err)
				}
				j.Items = nil
				for range items {
					j.InBuffers = append(j.InBuffers, column.Next())
				}
			})
			if !slices.Equal(got.values, []int{2, 0, 1}) || len(got.errs) > 0 {
				t.Errorf("got %v and %v, want the lengths of the items", got.values, got.errs)
			}
		})
	}
}

// fault is the runtime's panic value for an access to an address that must not be touched.
type fault uintptr

func (f fault) Addr() uintptr { return uintptr(f) }

func (f fault) Error() string { return "a fault" }

func TestAnItemThatIsWrittenToSaysSo(t *testing.T) {
	readOnly := func(j *Job) { j.ReadOnly = func(address uintptr) bool { return address == 100 } }
	items := []int{100, 200}
	for name, c := range map[string]Core{
		"one":  one(func(_ context.Context, x int) (int, error) { panic(fault(x)) }),
		"many": many(func(_ context.Context, xs []int) ([]int, error) { panic(fault(xs[0])) }),
	} {
		for _, item := range items {
			e := runJob[int, int](t, c, Packed, []int{item}, readOnly).errs[0]
			want := map[int]string{100: "wrote to its item", 200: "a fault"}[item]
			if e == nil || e.Kind != protocol.KindPanicked || !strings.Contains(e.Message, want) {
				t.Errorf("%s, a fault at %d: got %v, want a panic with %q", name, item, e, want)
			}
		}
	}
}

func TestResultsBeyondTheLimitFailAlone(t *testing.T) {
	c := one(func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil })
	o := runJob[int, string](t, c, Packed, []int{10, 11, 9}, func(j *Job) { j.MaxResult = 10 })
	if e := o.errs[1]; len(o.errs) != 1 || e == nil || e.Kind != protocol.KindOversize || e.Size != 11 {
		t.Errorf("got the errors %v, want item 1 oversize with 11 bytes", o.errs)
	}
}

func TestRawResultsThatAreNoJSONFail(t *testing.T) {
	c := one(func(_ context.Context, s string) (json.RawMessage, error) {
		if s == "" {
			return nil, nil
		}
		return json.RawMessage(s), nil
	})
	o := runJob[string, json.RawMessage](t, c, Packed, []string{`{"a":1}`, "{", ""}, nil)
	if len(o.errs) != 1 || o.errs[1] == nil || o.errs[1].Kind != protocol.KindFailed {
		t.Errorf("got the errors %v, want item 1 failed", o.errs)
	}
	if string(o.values[2]) != "null" {
		t.Errorf("a nil result: got %q, want null", o.values[2])
	}
}

func TestResultsWithoutJSONFailAlone(t *testing.T) {
	o := runJob[float64, float64](t, one(func(_ context.Context, x float64) (float64, error) { return math.Sqrt(x - 1), nil }), JSON, upTo(3), nil)
	if len(o.errs) != 1 || o.errs[0] == nil || o.errs[0].Kind != protocol.KindFailed {
		t.Errorf("got the errors %v, want item 0 failed", o.errs)
	}
}

func TestLongWordsAreBoundedInEveryFormat(t *testing.T) {
	c := one(func(context.Context, float64) (float64, error) { return 0, errors.New(strings.Repeat("x", 1<<20)) })
	inFormats(t, func(t *testing.T, f Format) {
		o := runJob[float64, float64](t, c, f, upTo(1), nil)
		if n := len(o.errs[0].Message); n > wire.MaxMessageText {
			t.Errorf("a message of a megabyte: got %d bytes, want at most %d", n, wire.MaxMessageText)
		}
	})
}

func TestNativeItemsAndResultsAreNotCopied(t *testing.T) {
	items := []([]byte){[]byte("a"), []byte("b")}
	c := one(func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	o := runJob[[]byte, []byte](t, c, Native, items, nil)
	for i := range items {
		if &o.values[i][0] != &items[i][0] {
			t.Errorf("result %d: got a copy of the item's memory, want the same", i)
		}
	}
}

// Messages have a limited size, whether results or errors fill them.
func TestResultsAreSentOnBeforeTheyAreTooMany(t *testing.T) {
	for name, c := range map[string]Core{
		"large results": one(func(context.Context, float64) ([]byte, error) { return make([]byte, 400<<10), nil }),
		"large errors": one(func(context.Context, float64) ([]byte, error) {
			return nil, errors.New(strings.Repeat("x", wire.MaxMessageText))
		}),
		"large results at once": many(func(_ context.Context, xs []float64) ([][]byte, error) {
			outs := make([][]byte, len(xs))
			for i := range outs {
				outs[i] = make([]byte, 400<<10)
			}
			return outs, nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			n := 200
			if strings.Contains(name, "results") {
				n = 20
			}
			o := runJob[float64, []byte](t, c, Packed, upTo(n), nil)
			if len(o.parts) < 3 {
				t.Errorf("got %d parts, want several", len(o.parts))
			}
			for i, p := range o.parts {
				size := len(p.Values)
				for _, e := range p.Errors {
					size += len(e.Message)
				}
				if size > 2*wire.BatchBytes {
					t.Errorf("part %d: got %d bytes, want at most %d", i, size, 2*wire.BatchBytes)
				}
			}
		})
	}
}

func TestSlowResultsAreSentOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := one(func(_ context.Context, x float64) (float64, error) {
			time.Sleep(30 * time.Millisecond)
			return x, nil
		})
		o := runJob[float64, float64](t, c, Packed, upTo(5), func(j *Job) { j.Timed = true })
		if len(o.parts) != 5 {
			t.Errorf("5 items of 30 ms: got %d parts, want one for each", len(o.parts))
		}
		for i, p := range o.parts {
			if len(p.ItemNS) != 1 || p.ItemNS[0] != uint64(30*time.Millisecond) || p.RunNS != uint64(30*time.Millisecond) {
				t.Errorf("times of part %d: got %v of %v, want 30 ms", i, p.ItemNS, p.RunNS)
			}
		}
	})
}

func TestTheBudgetHandsTheRestBack(t *testing.T) {
	for name, timed := range map[string]bool{"timed": true, "not timed": false} {
		t.Run(name, func(t *testing.T) {
			inFormats(t, func(t *testing.T, f Format) {
				synctest.Test(t, func(t *testing.T) {
					c := one(func(_ context.Context, x float64) (float64, error) {
						time.Sleep(8 * time.Millisecond)
						return x, nil
					})
					o := runJob[float64, float64](t, c, f, upTo(100), func(j *Job) { j.Timed, j.Budget = timed, 20*time.Millisecond })
					if o.done != 3 {
						t.Errorf("items of 8 ms in a budget of 20 ms: got %d, want 3", o.done)
					}
				})
			})
		})
	}
}

func TestTheBudgetAlwaysAllowsOneItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := one(func(_ context.Context, x float64) (float64, error) {
			time.Sleep(time.Hour)
			return x, nil
		})
		o := runJob[float64, float64](t, c, Packed, upTo(3), func(j *Job) { j.Budget = 1 })
		if o.done != 1 {
			t.Errorf("got %d items, want 1", o.done)
		}
	})
}

func TestHandBackEndsAfterTheRunningItem(t *testing.T) {
	var job *Job
	c := one(func(_ context.Context, x float64) (float64, error) {
		if x == 3 {
			job.HandBack()
		}
		return x, nil
	})
	inFormats(t, func(t *testing.T, f Format) {
		o := runJob[float64, float64](t, c, f, upTo(10), func(j *Job) { job = j })
		if o.done != 4 || len(o.errs) != 0 {
			t.Errorf("got %d items with %d errors, want 4 with none", o.done, len(o.errs))
		}
	})
}

func TestCanceledItemsDoNotBegin(t *testing.T) {
	var job *Job
	var began []float64
	c := one(func(_ context.Context, x float64) (float64, error) {
		began = append(began, x)
		if x == 2 {
			job.Cancel(4)
			job.Cancel(1) // item 1 has ended already
		}
		return x, nil
	})
	inFormats(t, func(t *testing.T, f Format) {
		began = nil
		o := runJob[float64, float64](t, c, f, upTo(6), func(j *Job) { job = j })
		if e := o.errs[4]; len(o.errs) != 1 || e == nil || e.Kind != protocol.KindCanceled {
			t.Errorf("got the errors %v, want item 4 canceled", o.errs)
		}
		if d := cmp.Diff([]float64{0, 1, 2, 3, 5}, began); d != "" {
			t.Errorf("items that began (-want +got):\n%s", d)
		}
	})
}

func TestTheRunningItemIsCanceledAlone(t *testing.T) {
	var job *Job
	c := one(func(ctx context.Context, x float64) (float64, error) {
		if x == 2 {
			job.Cancel(2)
			<-ctx.Done()
		}
		return x, ctx.Err()
	})
	inFormats(t, func(t *testing.T, f Format) {
		o := runJob[float64, float64](t, c, f, upTo(6), func(j *Job) { job = j })
		if e := o.errs[2]; len(o.errs) != 1 || e == nil || e.Kind != protocol.KindCanceled {
			t.Errorf("got the errors %v, want item 2 canceled", o.errs)
		}
	})
}

// A job without a time limit uses a context again for the next item if nobody waits on it. A late cancel must not end it for the next item.
func TestALateCancelDoesNotReachTheNextItem(t *testing.T) {
	var job *Job
	c := one(func(ctx context.Context, x float64) (float64, error) { return x, ctx.Err() })
	stop, stopped := make(chan struct{}), make(chan struct{})
	with := func(j *Job) {
		job = j
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					job.Cancel(job.Current())
				}
			}
		}()
	}
	o := runJob[float64, float64](t, c, Native, upTo(20000), with)
	close(stop)
	<-stopped
	for i, e := range o.errs {
		if e.Kind != protocol.KindCanceled {
			t.Fatalf("item %d: got %v, want no error or canceled", i, e)
		}
		if !job.isCanceled(i) {
			t.Fatalf("item %d was canceled, which nobody asked for", i)
		}
	}
}

func TestCancelAllEndsWhatRunsAndWhatWaits(t *testing.T) {
	var job *Job
	c := one(func(ctx context.Context, x float64) (float64, error) {
		if x == 2 {
			job.CancelAll()
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}
		return x, nil
	})
	inFormats(t, func(t *testing.T, f Format) {
		o := runJob[float64, float64](t, c, f, upTo(6), func(j *Job) { job = j })
		if o.done != 6 || len(o.errs) != 4 {
			t.Fatalf("got %d items with %d errors, want 6 with 4", o.done, len(o.errs))
		}
		for i := 3; i < 6; i++ {
			if o.errs[i] == nil || o.errs[i].Kind != protocol.KindCanceled {
				t.Errorf("item %d: got %v, want canceled", i, o.errs[i])
			}
		}
	})
}

func TestAnItemBeyondItsLimitTimesOutAlone(t *testing.T) {
	inFormats(t, func(t *testing.T, f Format) {
		synctest.Test(t, func(t *testing.T) {
			var saw []error
			c := one(func(ctx context.Context, x float64) (float64, error) {
				if int(x)%3 == 1 {
					<-ctx.Done()
					saw = append(saw, ctx.Err())
					return 0, ctx.Err()
				}
				time.Sleep(90 * time.Millisecond) // close to the limit, but within it
				return x, ctx.Err()
			})
			var mu sync.Mutex
			var overdue []int
			o := runJob[float64, float64](t, c, f, upTo(9), func(j *Job) {
				j.Timeout, j.Timed = 100*time.Millisecond, true
				j.OnOverdue = func(item int) {
					mu.Lock()
					defer mu.Unlock()
					overdue = append(overdue, item)
				}
			})
			synctest.Wait() // OnOverdue runs in a goroutine of its own
			mu.Lock()
			defer mu.Unlock()
			for i := range 9 {
				if e := o.errs[i]; i%3 == 1 && (e == nil || e.Kind != protocol.KindTimeout) || i%3 != 1 && e != nil {
					t.Errorf("item %d: got %v", i, e)
				}
			}
			if d := cmp.Diff([]int{1, 4, 7}, overdue); d != "" {
				t.Errorf("items that OnOverdue was told of (-want +got):\n%s", d)
			}
			for _, err := range saw {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("ctx.Err of an overdue item: got %v, want a deadline error", err)
				}
			}
		})
	})
}

// The host times an item's grace period from the message that it is overdue. So the worker must report at once that the item has ended after all.
func TestATimeoutIsReportedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := one(func(ctx context.Context, x float64) (float64, error) {
			if x == 0 {
				<-ctx.Done()
			}
			return x, nil
		})
		o := runJob[float64, float64](t, c, Packed, upTo(3), func(j *Job) { j.Timeout = time.Millisecond })
		if len(o.parts) != 2 || o.parts[0].Count != 1 {
			t.Errorf("got %d parts, the first of %d items, want 2 and 1", len(o.parts), o.parts[0].Count)
		}
	})
}

// slowToRead is an item whose decoding takes longer than the time limit.
type slowToRead int

func (s *slowToRead) UnmarshalJSON(b []byte) error {
	time.Sleep(time.Second)
	return json.Unmarshal(b, (*int)(s))
}

func (s slowToRead) MarshalJSON() ([]byte, error) { return json.Marshal(int(s)) }

func TestTheTimeBetweenItemsIsNobodysFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := one(func(ctx context.Context, x slowToRead) (int, error) { return int(x), ctx.Err() })
		o := runJob[slowToRead, int](t, c, Packed, []slowToRead{1, 2, 3}, func(j *Job) {
			j.Timeout = 10 * time.Millisecond
			j.OnOverdue = func(item int) { t.Errorf("item %d is said to be overdue, and none was running", item) }
		})
		if len(o.errs) != 0 {
			t.Errorf("got the errors %v, want none", o.errs)
		}
	})
}

func TestBatchFunctions(t *testing.T) {
	failing := &protocol.BatchError{Errs: map[int]error{1: errors.New("odd one"), 2: &BadItemError{errors.New("bad one")}}}
	for name, c := range map[string]struct {
		f    func(context.Context, []float64) ([]float64, error)
		want map[int]protocol.Kind
		says string
	}{
		"all well":        {func(_ context.Context, xs []float64) ([]float64, error) { return xs, nil }, nil, ""},
		"an error":        {func(context.Context, []float64) ([]float64, error) { return nil, errors.New("all lost") }, all4(protocol.KindFailed), "all lost"},
		"single errors":   {func(_ context.Context, xs []float64) ([]float64, error) { return xs, fmt.Errorf("x: %w", failing) }, map[int]protocol.Kind{1: protocol.KindFailed, 2: protocol.KindBadItem}, ""},
		"too few results": {func(_ context.Context, xs []float64) ([]float64, error) { return xs[1:], nil }, all4(protocol.KindFailed), "3 results for 4 items"},
		"too many":        {func(_ context.Context, xs []float64) ([]float64, error) { return append(slices.Clone(xs), 1), nil }, all4(protocol.KindFailed), "5 results for 4 items"},
		"a panic":         {func(context.Context, []float64) ([]float64, error) { panic("ouch") }, all4(protocol.KindPanicked), "ouch"},
		"runtime.Goexit":  {func(context.Context, []float64) ([]float64, error) { runtime.Goexit(); return nil, nil }, all4(protocol.KindPanicked), "Goexit"},
	} {
		t.Run(name, func(t *testing.T) {
			inFormats(t, func(t *testing.T, f Format) {
				o := runJob[float64, float64](t, many(c.f), f, upTo(4), nil)
				got := map[int]protocol.Kind{}
				seen := map[*protocol.ItemError]bool{}
				for i, e := range o.errs {
					got[i] = e.Kind
					if !strings.Contains(e.Message, c.says) {
						t.Errorf("item %d: got %q, want %q in it", i, e.Message, c.says)
					}
					if seen[e] {
						t.Errorf("item %d shares its error with another: the host writes the index into it", i)
					}
					seen[e] = true
				}
				if want := c.want; o.done != 4 || len(want)+len(got) > 0 && !cmp.Equal(want, got) {
					t.Errorf("got %d items with %v, want 4 with %v", o.done, got, want)
				}
				for i, v := range o.values {
					if o.errs[i] == nil && v != float64(i) {
						t.Errorf("result %d: got %v, want %d", i, v, i)
					}
				}
				if leaving := o.parts[len(o.parts)-1].Leaving; leaving != (c.want[0] == protocol.KindPanicked) {
					t.Errorf("leaving: got %v", leaving)
				}
			})
		})
	}
}

func all4(k protocol.Kind) map[int]protocol.Kind {
	return map[int]protocol.Kind{0: k, 1: k, 2: k, 3: k}
}

func TestBatchFunctionsWithALimitGetOneItemAtATime(t *testing.T) {
	inFormats(t, func(t *testing.T, f Format) {
		synctest.Test(t, func(t *testing.T) {
			c := many(func(ctx context.Context, xs []float64) ([]float64, error) {
				switch {
				case len(xs) != 1:
					t.Errorf("got %d items at once, want 1", len(xs))
				case xs[0] == 2:
					<-ctx.Done()
				case xs[0] == 3:
					return xs, &protocol.BatchError{Errs: map[int]error{0: errors.New("three")}}
				}
				return xs, nil
			})
			o := runJob[float64, float64](t, c, f, upTo(5), func(j *Job) { j.Timeout = time.Second })
			if len(o.errs) != 2 || o.errs[2].Kind != protocol.KindTimeout || o.errs[3].Message != "three" {
				t.Errorf("got the errors %v, want item 2 timed out and item 3 failed", o.errs)
			}
		})
	})
}

func TestASetupThatPanicsIsAnError(t *testing.T) {
	c := New(func(context.Context) (Funcs[int, int], func(context.Context) error, error) { panic("no model") })
	if _, err := c.Open(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "set-up panicked: no model") {
		t.Errorf("got %v, want an error with the panic", err)
	}
}

func TestATeardownThatPanicsIsAnError(t *testing.T) {
	c := New(func(context.Context) (Funcs[int, int], func(context.Context) error, error) {
		return Funcs[int, int]{}, func(context.Context) error { panic("no file") }, nil
	})
	i, err := c.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "teardown panicked: no file") {
		t.Errorf("got %v, want an error with the panic", err)
	}
}
