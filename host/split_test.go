package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parhost/parhost/sdk"
)

// A batch that turns slow hands back what it has not begun; what it has done is wanted then, not when the rest of it is done too.
func TestStreamDeliversWhatIsDoneOfABatchThatTurnsSlow(t *testing.T) {
	const n = 20_000
	for name, stream := range map[string]func(context.Context, *Pool, []int) map[int]time.Time{
		"ordered": func(ctx context.Context, p *Pool, items []int) map[int]time.Time {
			return arrivals(t, BindJSON[int, int](p).Stream(ctx, slices.Values(items)))
		},
		"unordered": func(ctx context.Context, p *Pool, items []int) map[int]time.Time {
			return arrivals(t, BindJSON[int, int](p).Unordered(ctx, slices.Values(items)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				ends := make([]time.Time, n)
				slows := sdk.Func("slows", func(_ context.Context, i int) (int, error) {
					if time.Sleep(time.Microsecond); i >= n/2 && i < n/2+1000 {
						time.Sleep(time.Millisecond)
					}
					mu.Lock()
					defer mu.Unlock()
					if !ends[i].IsZero() {
						t.Errorf("item %d ran twice", i)
					}
					ends[i] = time.Now()
					return i, nil
				})
				p, err := Open(t.Context(), Config{Workload: slows, Mode: ModeGoroutine, Workers: 2})
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				items := make([]int, n)
				for i := range items {
					items[i] = i
				}
				came := stream(t.Context(), p, items)
				if len(came) != n {
					t.Fatalf("%d items: got %d results", n, len(came))
				}
				var last time.Time // when all items up to this one had ended
				for i := range n {
					if name == "unordered" {
						last = time.Time{}
					}
					if last = latest(last, ends[i]); came[i].Sub(last) > budget+2*time.Millisecond {
						t.Fatalf("result %d came %v after it could, want at most what is left of a batch that may run for %v", i, came[i].Sub(last), budget)
					}
				}
			})
		})
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// arrivals is when each result came.
func arrivals(t *testing.T, results func(func(Result[int], error) bool)) map[int]time.Time {
	t.Helper()
	came := map[int]time.Time{}
	for r, err := range results {
		if err != nil || r.Err != nil || r.Value != r.Index {
			t.Errorf("result %d: got %+v, %v", len(came), r, err)
		}
		if !came[r.Index].IsZero() {
			t.Errorf("result %d came twice", r.Index)
		}
		came[r.Index] = time.Now()
	}
	return came
}

// Whatever becomes of the chunks on their way, they are all taken once, and what a run is said to hold is nothing in the end. Items turn
// slow within a chunk, fail, time out and are tried again, and some never end, so that their worker is given up.
func TestBooksAreEvenWhenARunIsOver(t *testing.T) {
	const n = 6000
	for _, ordered := range []bool{true, false} {
		t.Run(fmt.Sprintf("ordered %v", ordered), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tried := map[string]int{}
				var mu sync.Mutex
				w := sdk.Func("troubled", func(ctx context.Context, item string) (string, error) {
					mu.Lock()
					tried[item]++
					again := tried[item] > 1
					mu.Unlock()
					switch kind, _, _ := strings.Cut(item, " "); {
					case kind == "slow":
						time.Sleep(time.Millisecond)
					case kind == "late" && !again: // it ends with its context, after its limit
						<-ctx.Done()
					case kind == "stuck": // takes its worker along
						time.Sleep(10 * time.Second)
					case kind == "fail":
						return "", fmt.Errorf("%s", item)
					}
					return strings.ToUpper(item), nil
				})
				p, err := Open(t.Context(), Config{
					Workload: w, Mode: ModeGoroutine, Workers: 2, ItemTimeout: 50 * time.Millisecond, Grace: 10 * time.Millisecond, Retries: 1, RetryAlways: true,
				})
				if err != nil {
					t.Fatal(err)
				}
				defer time.Sleep(time.Minute) // what was left behind has to end
				defer p.Close()
				items := make([]string, n)
				for i := range items {
					kind := "quick"
					switch {
					case i%1500 == 700:
						kind = "stuck"
					case i%500 == 300:
						kind = "late"
					case i%700 == 650:
						kind = "fail"
					case i > n/2 && i < n/2+800:
						kind = "slow"
					}
					items[i] = fmt.Sprint(kind, " ", i)
				}
				r, ctx := newRun[string, string](t.Context(), p, ordered)
				r.feed(slices.Values(items))
				r.start(ctx)
				seen := make([]bool, n)
				next := 0
				err = r.take(func(c *chunk[string, string]) bool {
					return c.results(func(got Result[string]) bool {
						i := got.Index
						if seen[i] || ordered && i != next {
							t.Errorf("result %d came after %d results, seen before: %v", i, next, seen[i])
						}
						seen[i], next = true, next+1
						kind, _, _ := strings.Cut(items[i], " ")
						want := Result[string]{Index: i, Value: strings.ToUpper(items[i]), Attempts: 1}
						var wrong bool
						mu.Lock()
						runs := tried[items[i]] // twice if it had run in a batch whose worker was left behind before the batch had ended
						mu.Unlock()
						switch kind {
						case "stuck":
							wrong = got.Err == nil || got.Err.Kind != KindTimeout || got.Attempts != 2 || got.Err.Index != i
						case "fail":
							wrong = got.Err == nil || got.Err.Message != items[i] || got.Attempts < 1 || got.Attempts > runs || got.Err.Index != i
						case "late":
							wrong = got.Err != nil || got.Value != want.Value || got.Attempts != 2
						default:
							wrong = got.Err != nil || got.Value != want.Value || got.Attempts < 1 || got.Attempts > runs
						}
						if wrong {
							t.Errorf("%s: got %+v", items[i], got)
						}
						return true
					})
				})
				if err != nil || next != n {
					t.Errorf("%d items: got %d results, %v", n, next, err)
				}
				for what, left := range map[string]int{
					"blocks": r.taking, "items": r.held, "bytes": r.bytes, "queued bytes": r.queued, "items put back": r.requeuedItems,
					"tasks put back": len(r.requeued), "tasks under way": r.active, "lanes that carry one": r.busyLanes,
				} {
					if left != 0 {
						t.Errorf("%s in the books of a run that is over: got %d, want none", what, left)
					}
				}
				if r.chunks.head != nil {
					t.Errorf("a block that nobody has taken begins with item %d", r.chunks.head.first)
				}
			})
		})
	}
}
