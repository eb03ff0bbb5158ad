package host

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/sdk"
)

// A worker has its next batches at hand when they are short, and none waits for long behind another while a worker is free.
func TestOnlyShortBatchesWaitInAWorker(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		item time.Duration
		want int // batches in a worker at once, at most
	}{
		"sized by measure":              {Config{}, time.Microsecond, 2},
		"sized by measure, long":        {Config{}, 2 * budget, 1},
		"of one item":                   {Config{Batch: 1}, time.Microsecond, 2},
		"of one item of 100 µs":         {Config{Batch: 1}, 100 * time.Microsecond, 2},
		"of ten items of 10 µs":         {Config{Batch: 10}, 10 * time.Microsecond, 2},
		"of one item of 5 ms":           {Config{Batch: 1}, 5 * time.Millisecond, 2},
		"of one item, long":             {Config{Batch: 1}, 2 * budget, 1},
		"of one item, where none waits": {Config{Batch: 1, Window: 1}, time.Microsecond, 1},
		"of one item, a wide window":    {Config{Batch: 1, Window: 100}, time.Microsecond, 100},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Workers = 2
			_, log := simulation{cfg: c.cfg, items: slices.Repeat([]int64{int64(c.item)}, 10_000)}.run(t)
			if log.most != c.want {
				t.Errorf("batches in one worker: got up to %d, want %d", log.most, c.want)
			}
		})
	}
}

func TestBatchesAreBoundedInBytes(t *testing.T) {
	const size = 100 << 10
	weighs := sdk.Func("weighs", func(_ context.Context, item []byte) (int, error) { return len(item), nil })
	items := slices.Repeat([][]byte{bytes.Repeat([]byte{1}, size)}, 400)
	for name, c := range map[string]struct {
		workers int
		stream  bool
		want    int64 // items; the one that gets a batch to its bound is its last
	}{
		"of a slice":                {2, false, wire.BatchBytes/size + 1},
		"of a stream":               {2, true, wire.BatchBytes/size + 1},
		"of a stream, many workers": {64, true, maxBytes/(4*64)/size + 1},
	} {
		t.Run(name, func(t *testing.T) {
			var most largest
			p, err := Open(t.Context(), Config{Workload: weighs, Mode: ModeGoroutine, Workers: c.workers, Batch: 100, Observer: &most})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if c.stream {
				for _, err := range BindJSON[[]byte, int](p).Stream(t.Context(), slices.Values(items)) {
					if err != nil {
						t.Fatal(err)
					}
				}
			} else if _, err := BindJSON[[]byte, int](p).Map(t.Context(), items); err != nil {
				t.Fatal(err)
			}
			p.AwaitObserver()
			if got := most.Load(); got > c.want || got < c.want && !c.stream { // a stream may be cut before so many have come
				t.Errorf("items of %d bytes in a batch: got up to %d, want %d", size, got, c.want)
			}
		})
	}
}

// While large items run, a stream reads one more item from the iterator. It asks for no second one, which would only wait in memory.
func TestOneLargeItemIsReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		waits := sdk.Func("waits", func(context.Context, string) (int, error) {
			<-gate
			return 0, nil
		})
		p, err := Open(t.Context(), Config{Workload: waits, Mode: ModeGoroutine, Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		item := strings.Repeat("x", maxQueueBytes)
		var made atomic.Int64
		took := make(chan int)
		go func() {
			n := 0
			for _, err := range BindJSON[string, int](p).Stream(t.Context(), func(yield func(string) bool) {
				for made.Add(1) <= 5 && yield(item) {
					continue
				}
			}) {
				if err == nil {
					n++
				}
			}
			took <- n
		}()
		synctest.Wait()
		if got := made.Load(); got != 2 {
			t.Errorf("one item is under way: got %d made, want 2", got)
		}
		close(gate)
		if n := <-took; n != 5 {
			t.Errorf("got %d results, want 5", n)
		}
	})
}

// What a run holds for whoever takes its results is bounded, errors with all their words too.
func TestErrorsAreBoundedInBytes(t *testing.T) {
	const size, n = 16_000, 3 * maxBytes / 16_000
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var ran atomic.Int64
		words := strings.Repeat("x", size)
		fails := sdk.Func("fails", func(_ context.Context, item int) (int, error) {
			if item == 0 {
				<-gate
			}
			ran.Add(1)
			return 0, errors.New(words)
		})
		p, err := Open(t.Context(), Config{Workload: fails, Mode: ModeGoroutine, Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		took := make(chan int)
		go func() {
			failed := 0
			for r, err := range BindJSON[int, int](p).Stream(t.Context(), func(yield func(int) bool) {
				for i := 0; i < n && yield(i); i++ {
					continue
				}
			}) {
				if err == nil && r.Err != nil && len(r.Err.Message) == size {
					failed++
				}
			}
			took <- failed
		}()
		synctest.Wait() // nobody goes on before the first item does
		if most := int64(maxBytes/size + 2*wire.BatchBytes/size); ran.Load() > most {
			t.Errorf("behind the first item: got %d errors of %d bytes, want at most %d", ran.Load(), size, most)
		}
		close(gate)
		if failed := <-took; failed != n {
			t.Errorf("got %d errors, want %d", failed, n)
		}
	})
}

// largest is the items of the largest batch.
type largest struct{ atomic.Int64 }

func (l *largest) Observe(e Event) {
	if b, ok := e.(BatchDone); ok {
		for n := l.Load(); int64(b.Items) > n && !l.CompareAndSwap(n, int64(b.Items)); n = l.Load() {
		}
	}
}
