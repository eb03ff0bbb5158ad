//go:build unix

package host_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
)

// Everything at once: runs of all shapes, items that fail, crash and are cancelled, workers that are killed from outside and
// recycled from inside, snapshots, and in the end a Close or a Shutdown in the middle of it.
func TestHammer(t *testing.T) {
	cfg := host.Config{Workload: chaos, Workers: 3, Threads: 2, MaxItems: 300, Grace: 100 * time.Millisecond, Observer: new(recorder)}
	pools(t, cfg, func(t *testing.T, p *host.Pool) {
		process := p.Workers()[0].Mode == host.ModeProcess
		stop := make(chan struct{})
		var hands sync.WaitGroup
		for range 6 {
			hands.Go(func() {
				for !isClosed(stop) {
					blow(t, p, process)
				}
			})
		}
		if p.Workers()[0].Mode != host.ModeSequential {
			hands.Go(func() {
				for tick := time.NewTicker(20 * time.Millisecond); !isClosed(stop); <-tick.C {
					_ = p.Resize(1 + rand.IntN(4)) // it may be closed
				}
			})
		}
		if process {
			hands.Go(func() {
				for tick := time.NewTicker(50 * time.Millisecond); !isClosed(stop); <-tick.C {
					if ws := p.Workers(); len(ws) > 0 {
						_ = syscall.Kill(ws[rand.IntN(len(ws))].PID, []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[rand.IntN(2)])
					}
				}
			})
		}
		time.AfterFunc(time.Second, func() { close(stop) })
		<-stop
		within(t, "the end of it", 10*time.Second, func() {
			if rand.IntN(2) == 0 {
				p.Close()
			} else if err := p.Shutdown(context.Background()); err != nil {
				t.Errorf("Shutdown: got %v", err)
			}
			hands.Wait()
		})
	})
}

// blow is one of the things that can be done with a pool, checked as far as the others allow.
func blow(t *testing.T, p *host.Pool, process bool) {
	t.Helper()
	n := rand.IntN(300)
	special := map[int]order{}
	for range rand.IntN(3) {
		do := []order{{Do: "fail", S: "no"}, {Do: "panic", S: "ouch"}, {Do: "exit", N: 1}, {Do: "huge", N: 1 << 16}}
		if !process {
			do = do[:2]
		}
		special[rand.IntN(n+1)] = do[rand.IntN(len(do))]
	}
	items := orders(n, special)
	over := func(err error) bool {
		return errors.Is(err, host.ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	}
	switch rand.IntN(4) {
	case 0:
		got, err := typed[order, string](p).Map(t.Context(), items)
		if over(err) {
			return
		}
		for i, e := range mapErrors(t, "Map", err) {
			if _, ok := special[i]; !ok && e.Kind != host.KindCrashed { // killed from outside, an item may be blamed
				t.Errorf("item %d: got %v, want no error", i, e)
			}
		}
		for i, s := range got {
			if _, ok := special[i]; !ok && s != "" && s != items[i].S {
				t.Errorf("result %d: got %q, want %q", i, s, items[i].S)
			}
		}
	case 1:
		i := 0
		for r, err := range typed[order, string](p).Stream(t.Context(), slices.Values(items)) {
			if over(err) || rand.IntN(200) == 0 {
				return
			}
			if err != nil || r.Index != i {
				t.Errorf("Stream: got %+v, %v at place %d", r, err, i)
				return
			}
			i++
		}
		if i != n {
			t.Errorf("Stream of %d items: got %d results", n, i)
		}
	case 2:
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(20))*time.Millisecond)
		defer cancel()
		for _, err := range typed[order, string](p).Unordered(ctx, slices.Values(items)) {
			if err != nil && !over(err) {
				t.Errorf("Unordered with a deadline: got %v", err)
			}
		}
	default:
		got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "pid"}))
		if err == nil && got == "" || err == nil && !process && got != pidText {
			t.Errorf("Do of pid: got %q", got)
		}
		_ = p.Workers()
	}
}

var pidText = strconv.Itoa(os.Getpid())
