package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

// broken yields some items, and then does what it is told.
func broken(end func()) iter.Seq[float64] {
	return func(yield func(float64) bool) {
		for i := range 10 {
			if !yield(float64(i)) {
				return
			}
		}
		end()
	}
}

// An iterator that does not return ends the caller's goroutine as if the caller had ranged over it.
func TestWhatAnIteratorDoesComesToItsCaller(t *testing.T) {
	cause := errors.New("the input is gone")
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		for name, stream := range map[string]func(context.Context, iter.Seq[float64]) iter.Seq2[host.Result[float64], error]{
			"Stream": typed[float64, float64](p).Stream, "Unordered": typed[float64, float64](p).Unordered,
		} {
			within(t, name+" of an iterator that panics", patience, func() {
				defer func() {
					if got, _ := recover().(error); !errors.Is(got, cause) {
						t.Errorf("%s of an iterator that panics: got %v, want its panic", name, got)
					}
				}()
				for _, err := range stream(t.Context(), broken(func() { panic(cause) })) {
					_ = err
				}
			})
			within(t, name+" of an iterator that ends its goroutine", patience, func() {
				returned, ended := false, make(chan struct{})
				go func() {
					defer close(ended)
					for _, err := range stream(t.Context(), broken(runtime.Goexit)) {
						_ = err
					}
					returned = true
				}()
				<-ended
				if returned {
					t.Errorf("%s of an iterator that ends its goroutine: got a return, want the end of the caller's", name)
				}
			})
			got, err := value(typed[float64, float64](p).Do(t.Context(), 4))
			if err != nil || got != 2 {
				t.Errorf("the pool afterwards: got %v, %v, want 2", got, err)
			}
		}
	})
}

// observerFunc is an observer of one function.
type observerFunc func(host.Event)

func (f observerFunc) Observe(e host.Event) { f(e) }

var broodyItems = map[int]order{3: {Do: "fail", S: "no"}, 5: {Do: "panic", S: "ouch"}}

func TestAnObserverThatPanicsCostsNothing(t *testing.T) {
	cfg := host.Config{Workload: chaos, Observer: observerFunc(func(host.Event) { panic("no") })}
	pools(t, cfg, func(t *testing.T, p *host.Pool) {
		got, err := typed[order, string](p).Map(t.Context(), orders(20, broodyItems))
		if errs := checkOthers(t, "Map", got, err); len(errs) != 2 {
			t.Errorf("Map: got the errors %v, want those of two items", errs)
		}
	})
}

// uses are what a callback may do with the pool that calls it.
var uses = map[string]func(*host.Pool) error{
	"Resize":   func(p *host.Pool) error { return p.Resize(1) },
	"Workers":  func(p *host.Pool) error { p.Workers(); return nil },
	"Close":    (*host.Pool).Close,
	"Shutdown": func(p *host.Pool) error { return p.Shutdown(context.Background()) },
	"Do": func(p *host.Pool) error {
		got, err := value(typed[order, string](p).Do(context.Background(), order{Do: "echo", S: "nested"}))
		if err == nil && got != "nested" {
			err = fmt.Errorf("got %q", got)
		}
		return err
	},
}

// marshaled is an order whose encoding calls a function.
type marshaled struct {
	order order
	call  func()
}

func (m marshaled) MarshalJSON() ([]byte, error) {
	m.call()
	return json.Marshal(m.order)
}

// unmarshaled is a text whose decoding calls a function.
type unmarshaled string

var onUnmarshal atomic.Pointer[func()]

func (u *unmarshaled) UnmarshalJSON(text []byte) error {
	if call := onUnmarshal.Load(); call != nil {
		(*call)()
	}
	return json.Unmarshal(text, (*string)(u))
}

// The functions of the caller that a pool calls may use the pool, even if its only worker has work.
func TestCallbacksMayUseTheirPool(t *testing.T) {
	items := orders(20, map[int]order{3: {Do: "fail", S: "no"}, 5: {Do: "panic", S: "ouch"}, 7: {Do: "progress"}})
	is := func(kinds ...host.Event) func(host.Event) bool {
		return func(e host.Event) bool {
			return slices.ContainsFunc(kinds, func(k host.Event) bool { return reflect.TypeOf(k) == reflect.TypeOf(e) })
		}
	}
	never := func(host.Event) bool { return false }
	for from, c := range map[string]struct {
		at  func(host.Event) bool // when the Observer uses the pool
		run func(ctx context.Context, p *host.Pool, use func()) error
	}{
		"Observe, a batch that is done":    {is(host.BatchDone{}), nil},
		"Observe, an item that failed":     {is(host.ItemFailed{}), nil},
		"Observe, the progress of an item": {is(host.ItemProgress{}), nil},
		"Observe, a worker that ended":     {is(host.WorkerEnded{}), nil},
		"Observe, a worker that started":   {func(e host.Event) bool { s, ok := e.(host.WorkerStarted); return ok && s.Replace }, nil},
		"an iterator": {never, func(ctx context.Context, p *host.Pool, use func()) error {
			for _, err := range typed[order, string](p).Stream(ctx, func(yield func(order) bool) {
				for _, item := range items {
					if use(); !yield(item) {
						return
					}
				}
			}) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		"MarshalJSON": {never, func(ctx context.Context, p *host.Pool, use func()) error {
			calling := make([]marshaled, len(items))
			for i, item := range items {
				calling[i] = marshaled{item, use}
			}
			_, err := typed[marshaled, string](p).Map(ctx, calling)
			return err
		}},
		"UnmarshalJSON": {never, func(ctx context.Context, p *host.Pool, use func()) error {
			onUnmarshal.Store(&use)
			defer onUnmarshal.Store(nil)
			_, err := typed[order, unmarshaled](p).Map(ctx, items)
			return err
		}},
	} {
		for what, use := range uses {
			t.Run(from+", "+what, func(t *testing.T) {
				var pool atomic.Pointer[host.Pool]
				var used atomic.Bool
				call := func() {
					p := pool.Load()
					if p == nil || !used.CompareAndSwap(false, true) {
						return
					}
					if err := use(p); err != nil && !errors.Is(err, host.ErrObserving) && !errors.Is(err, host.ErrClosed) {
						t.Errorf("%s in %s: got %v", what, from, err)
					}
				}
				cfg := host.Config{Workload: chaos, Workers: 1, Grace: 100 * time.Millisecond, Observer: observerFunc(func(e host.Event) {
					if c.at(e) {
						call()
					}
				})}
				pools(t, cfg, func(t *testing.T, p *host.Pool) {
					used.Store(false)
					pool.Store(p)
					within(t, "the run and Close", patience, func() {
						if c.run != nil {
							_ = c.run(t.Context(), p, call)
						} else {
							_, _ = typed[order, string](p).Map(t.Context(), items)
						}
						_ = p.Close()
						_ = p.Close()
					})
					pool.Store(nil)
					if !used.Load() {
						t.Errorf("%s has not been called", from)
					}
				})
			})
		}
	}
}

// A function of the caller that ends its goroutine, as t.FailNow does, ends the goroutine that runs the items.
func TestWhatEndsItsGoroutineInAMarshalerEndsTheCallers(t *testing.T) {
	for from, run := range map[string]func(p *host.Pool) error{
		"MarshalJSON": func(p *host.Pool) error {
			items := []marshaled{{order{}, func() {}}, {order{}, runtime.Goexit}}
			_, err := typed[marshaled, string](p).Map(context.Background(), items)
			return err
		},
		"MarshalJSON of one item": func(p *host.Pool) error {
			_, err := typed[marshaled, string](p).Do(context.Background(), marshaled{order{}, runtime.Goexit})
			return err
		},
		"MarshalJSON of a handle": func(p *host.Pool) error {
			_, err := typed[marshaled, string](p).Start(context.Background(), marshaled{order{}, runtime.Goexit}).Wait(context.Background())
			return err
		},
		"UnmarshalJSON": func(p *host.Pool) error {
			end := runtime.Goexit
			onUnmarshal.Store(&end)
			defer onUnmarshal.Store(nil)
			_, err := typed[order, unmarshaled](p).Map(context.Background(), orders(20, nil))
			return err
		},
	} {
		t.Run(from, func(t *testing.T) {
			pools(t, host.Config{Workload: chaos, Workers: 1}, func(t *testing.T, p *host.Pool) {
				within(t, "the run and Close", patience, func() {
					returned, ended := false, make(chan struct{})
					go func() {
						defer close(ended)
						if err := run(p); err != nil {
							t.Errorf("got %v", err)
						}
						returned = true
					}()
					<-ended
					if returned {
						t.Error("got a return, want the end of the goroutine")
					}
					if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "echo", S: "on"})); err != nil || got != "on" {
						t.Errorf("the pool afterwards: got %q, %v", got, err)
					}
				})
			})
		})
	}
}

// An item that runs items on its own pool is told that it may not, where it would wait for itself.
func TestAnItemDoesNotWaitForItsOwnPool(t *testing.T) {
	for _, mode := range []host.Mode{host.ModeGoroutine, host.ModeSequential} {
		t.Run(string(mode), func(t *testing.T) {
			var pool, other *host.Pool
			nested := sdk.Func("nested", func(ctx context.Context, depth float64) (float64, error) {
				switch depth {
				case 0:
					return 7, nil
				case 1:
					return value(typed[float64, float64](pool).Do(ctx, 0))
				default:
					return value(typed[float64, float64](other).Do(ctx, depth-1))
				}
			})
			pool = open(t, host.Config{Workload: nested, Mode: mode, Workers: 1})
			other = open(t, host.Config{Workload: nested, Mode: mode, Workers: 1})
			for _, depth := range []float64{1, 2} { // itself, and by way of the other pool
				within(t, "Do", patience, func() {
					_, err := value(typed[float64, float64](pool).Do(t.Context(), depth))
					if e := itemError(t, "a nested Do", err, host.KindFailed); !strings.HasSuffix(e.Message, host.ErrNested.Error()) {
						t.Errorf("depth %v: got %q, want %q", depth, e.Message, host.ErrNested)
					}
				})
			}
			if got, err := value(typed[float64, float64](other).Do(t.Context(), 1)); err != nil || got != 7 {
				t.Errorf("items of one pool on another: got %v, %v, want 7", got, err)
			}
		})
	}
}

// Tests call t.FailNow where they like.
func TestAnObserverThatEndsItsGoroutineHoldsNothingUp(t *testing.T) {
	cfg := host.Config{Workload: chaos, Observer: observerFunc(func(host.Event) { runtime.Goexit() })}
	pools(t, cfg, func(t *testing.T, p *host.Pool) {
		within(t, "Map and Close", patience, func() {
			got, err := typed[order, string](p).Map(t.Context(), orders(20, broodyItems))
			if errs := checkOthers(t, "Map", got, err); len(errs) != 2 {
				t.Errorf("Map: got the errors %v, want those of two items", errs)
			}
			_ = p.Close()
		})
	})
}

// An Observer that does not return holds up Close for a grace period, and then nothing.
func TestAnObserverThatDoesNotReturnHoldsUpNoRun(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			gate, begun := make(chan struct{}), make(chan struct{}, 1)
			p := open(t, host.Config{
				Workload: chaos, Mode: mode, Workers: 1, Batch: 1, Grace: 100 * time.Millisecond,
				Observer: observerFunc(func(e host.Event) {
					if _, ok := e.(host.BatchDone); ok {
						select {
						case begun <- struct{}{}:
						default:
						}
						<-gate
					}
				}),
			})
			defer close(gate)
			ended := make(chan error, 1)
			go func() {
				_, err := typed[order, string](p).Map(t.Context(), orders(3000, nil)) // more than the events that may wait
				ended <- err
			}()
			<-begun
			within(t, "a thousand events that wait", patience, func() {
				for p.ObserverIsBehind() == nil {
					time.Sleep(time.Millisecond) // no event says that there are so many
				}
			})
			within(t, "Close", patience, func() {
				if err := p.Close(); !errors.Is(err, host.ErrObserving) {
					t.Errorf("Close: got %v, want ErrObserving", err)
				}
			})
			within(t, "Map after Close", patience, func() {
				if err := <-ended; !errors.Is(err, host.ErrClosed) {
					t.Errorf("Map: got %v, want ErrClosed", err)
				}
			})
		})
	}
}
