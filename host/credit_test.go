//go:build unix

package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/sdk"
)

// hoardResult is what each item of the fakes below brings.
const hoardResult = 32 << 20

// large are results of so many bytes for items of a batch.
func large(b *workerpb.Batch, from, count uint32, size int) *workerpb.Results {
	var w wire.ColumnWriter
	for range count {
		w.End(append(w.Begin(), make([]byte, size)...))
	}
	return &workerpb.Results{Batch: b.GetId(), From: from, Count: count, Values: w.Bytes(), Last: from+count == b.GetCount()}
}

// hoarder is a plugin of many threads that answers its batches in some way, and may withhold the first one.
func hoarder(withhold bool, way func(s stream, b *workerpb.Batch) error) func() {
	return func() {
		fakeServe(&liar{
			manifest: &workerpb.Manifest{Name: "liar", ItemKind: "int64", ResultKind: "bytes", Threads: 64},
			work: dialogue(func(s stream, b *workerpb.Batch) error {
				if withhold && b.GetFirst() == 0 {
					return nil
				}
				return way(s, b)
			}),
		})
	}
}

func needs(s stream, b *workerpb.Batch, bytes uint64) error {
	return s.Send(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Need{Need: &workerpb.Need{Batch: b.GetId(), Bytes: bytes}}})
}

func init() {
	unasked := func(s stream, b *workerpb.Batch) error {
		for at := range b.GetCount() {
			if err := s.Send(results(large(b, at, 1, hoardResult))); err != nil {
				return err
			}
		}
		return nil
	}
	fakes["hoards results"], fakes["does not ask"] = hoarder(true, unasked), hoarder(false, unasked)
	fakes["hoards credit"] = func() {
		fakeServe(&liar{
			manifest: &workerpb.Manifest{Name: "liar", ItemKind: "int64", ResultKind: "bytes", Threads: 64},
			work:     hoardCredit,
		})
	}
	fakes["asks twice"] = hoarder(false, func(s stream, b *workerpb.Batch) error {
		_ = needs(s, b, 1)
		return needs(s, b, 1)
	})
	fakes["asks for all"] = hoarder(false, func(s stream, b *workerpb.Batch) error { return needs(s, b, 1<<63) })
	fakes["asks for nothing"] = hoarder(false, func(s stream, b *workerpb.Batch) error { return needs(s, b, 0) })
	fakes["asks, does not wait"] = hoarder(false, func(s stream, b *workerpb.Batch) error {
		_ = needs(s, b, 1)
		return s.Send(results(large(b, 0, 1, hoardResult)))
	})
	fakes["saves credit"] = func() {
		fakeServe(&liar{manifest: &workerpb.Manifest{Name: "liar", ItemKind: "int64", ResultKind: "bytes"}, work: saveCredit})
	}
	fakes["goes on when stopped"] = func() {
		fakeServe(&liar{manifest: &workerpb.Manifest{Name: "liar", ItemKind: "int64", ResultKind: "bytes", Idempotent: true}, work: hoardCredit})
	}
	fakes["sends errors without credit"] = hoarder(false, func(s stream, b *workerpb.Batch) error {
		r := large(b, 0, b.GetCount(), 0)
		for at := range b.GetCount() {
			r.Errors = append(r.Errors, &workerpb.ItemError{Item: at, Message: strings.Repeat("x", int(b.GetCredit())), Stack: "y"})
		}
		return s.Send(results(r))
	})
}

// saveCredit is a worker that asks for much credit, uses little of it, and tries to use the rest for its next message.
func saveCredit(s stream) error {
	if err := s.Send(ready(false)); err != nil {
		return err
	}
	var b *workerpb.Batch
	for {
		req, err := s.Recv()
		switch {
		case err != nil:
			return err
		case req.GetBatch() != nil:
			b = req.GetBatch()
			_ = needs(s, b, hoardResult)
		case req.GetCredit() != nil:
			_ = s.Send(results(large(b, 0, 1, 0)))
			_ = s.Send(results(large(b, 1, 1, hoardResult)))
		}
	}
}

// hoardCredit keeps to the rules of credit: for each result it asks. It sends nothing of the first item, or ends its process for that once if a file
// of the name in the environment does not exist. It goes on when it is told to stop.
func hoardCredit(s stream) error {
	type state struct {
		b      *workerpb.Batch
		at     uint32
		credit uint64
	}
	if err := s.Send(ready(false)); err != nil {
		return err
	}
	held := map[uint64]*state{}
	for {
		req, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var st *state
		flag := os.Getenv("PARHOST_TEST_FLAG")
		if b := req.GetBatch(); b != nil && b.GetFirst() == 0 && flag != "" {
			if _, err := os.Stat(flag); err != nil {
				_ = os.WriteFile(flag, nil, 0o600)
				os.Exit(3)
			}
		}
		switch {
		case req.GetBatch().GetFirst() > 0:
			b := req.GetBatch()
			st = &state{b: b, credit: b.GetCredit()}
			held[b.GetId()] = st
		case req.GetCredit() != nil:
			if st = held[req.GetCredit().GetBatch()]; st != nil {
				st.credit += req.GetCredit().GetBytes()
			}
		}
		if st == nil {
			continue
		}
		for size := uint64(hoardResult + 8); st.at < st.b.GetCount(); st.at++ {
			if st.credit < size {
				_ = needs(s, st.b, size-st.credit)
				break
			}
			st.credit -= size
			if err := s.Send(results(large(st.b, st.at, 1, hoardResult))); err != nil {
				return err
			}
		}
	}
}

// What a worker says against the rules of credit costs it its life, and is blamed on its items, at each level.
func TestResultsBeyondTheCreditCostTheWorker(t *testing.T) {
	for name, says := range map[string]string{
		"does not ask":                "and the batch has a credit of",
		"sends errors without credit": "and the batch has a credit of",
		"asks twice":                  "asks for credit again",
		"asks for all":                "asks for a credit of 9223372036854775808 bytes, the limit is",
		"asks for nothing":            "asks for a credit of 0 bytes",
		"asks, does not wait":         "credit", // it may have come by then, and is too little
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
				cfg := fake(t, name)
				cfg.Sandbox, cfg.Batch, cfg.Threads = policy, 2, 1
				p := open(t, cfg)
				within(t, "a stream over a plugin that "+name, 30*time.Second, func() {
					for r, err := range typed[int, []byte](p).Stream(t.Context(), slices.Values([]int{0, 1, 2})) {
						if err != nil || r.Err == nil || r.Err.Kind != host.KindCrashed || !strings.Contains(r.Err.Message, says) {
							t.Errorf("item %d: got %v, %v, want crashed with %q", r.Index, r.Err, err, says)
						}
					}
				})
			})
		})
	}
}

// reasons keeps why workers ended.
type reasons struct {
	mu  sync.Mutex
	all []string
}

func (r *reasons) Observe(e host.Event) {
	if e, ok := e.(host.WorkerEnded); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all = append(r.all, e.Reason)
	}
}

// A grant of credit is for one message. A worker cannot save a part of it for later.
func TestCreditIsNotSaved(t *testing.T) {
	var ended reasons
	cfg := fake(t, "saves credit")
	cfg.Batch, cfg.Workers, cfg.Observer = 2, 1, &ended
	p := open(t, cfg)
	within(t, "a stream over a plugin that saves credit", time.Minute, func() {
		for _, err := range typed[int, []byte](p).Stream(t.Context(), slices.Values(make([]int, 8))) { // of which some make a batch of two
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	p.Close() // after which the Observer has heard of all ends
	ended.mu.Lock()
	defer ended.mu.Unlock()
	if !slices.ContainsFunc(ended.all, func(reason string) bool { return strings.Contains(reason, "and the batch has a credit of") }) {
		t.Errorf("workers ended for %q, want one for results beyond its credit", ended.all)
	}
}

var (
	bulky = sdk.Func("bulky", func(_ context.Context, size int) ([]byte, error) { return bytes.Repeat([]byte{byte(size)}, size), nil })

	bulkyMany = sdk.Batch("bulky-many", func(_ context.Context, sizes []int) ([][]byte, error) {
		outs := make([][]byte, len(sizes))
		for i, size := range sizes {
			outs[i] = bytes.Repeat([]byte{byte(size)}, size)
		}
		return outs, nil
	})

	// bulkyOnce ends its process on the item 1 if the file does not exist, and makes it.
	bulkyOnce = sdk.Func("bulky-once", func(_ context.Context, o order) ([]byte, error) {
		if o.N == 1 {
			if _, err := os.Stat(o.Do); err != nil {
				_ = os.WriteFile(o.Do, nil, 0o600)
				os.Exit(3)
			}
		}
		return bytes.Repeat([]byte{byte(o.N)}, 8<<20), nil
	}).With(sdk.Manifest{Idempotent: true})

	// bulkyManyTwice is bulkyOnce for many items in one call. It ends its process twice, so that the item 1 waits for its third attempt while others run.
	bulkyManyTwice = sdk.Batch("bulky-many-twice", func(_ context.Context, orders []order) ([][]byte, error) {
		outs := make([][]byte, len(orders))
		for i, o := range orders {
			for _, flag := range []string{o.Do, o.Do + "-2"} {
				if _, err := os.Stat(flag); o.N == 1 && err != nil {
					_ = os.WriteFile(flag, nil, 0o600)
					os.Exit(3)
				}
			}
			outs[i] = bytes.Repeat([]byte{byte(o.N)}, 8<<20)
		}
		return outs, nil
	}).With(sdk.Manifest{Idempotent: true})
)

func init() { workloads = append(workloads, bulky, bulkyMany, bulkyOnce, bulkyManyTwice) }

// Results larger than any credit come through whole and in order, whichever way they take, though many more of them are ready than the host holds.
func TestLargeResultsComeThroughWithCredit(t *testing.T) {
	for name, cfg := range map[string]host.Config{
		"one":              {Workload: bulky},
		"one, inline":      {Workload: bulky, Inline: true},
		"fixed batches":    {Workload: bulky, Batch: 7},
		"threads":          {Workload: bulky, Batch: 3, Threads: 8},
		"a batch function": {Workload: bulkyMany, Batch: 11},
		"time limits":      {Workload: bulky, Batch: 3, ItemTimeout: 30 * time.Second},
	} {
		for kind, stream := range map[string]func(context.Context, *host.Pool, []int) (int, error){"ordered": ordered, "unordered": unordered} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				p := open(t, cfg)
				sizes := make([]int, 120)
				for i := range sizes {
					sizes[i] = (i * 77_777_777) % (5 << 20)
				}
				within(t, "a stream of large results", 2*time.Minute, func() {
					if n, err := stream(t.Context(), p, sizes); err != nil || n != len(sizes) {
						t.Errorf("got %d results, %v, want %d", n, err, len(sizes))
					}
				})
			})
		}
	}
}

func ordered(ctx context.Context, p *host.Pool, sizes []int) (n int, err error) {
	for r, err := range typed[int, []byte](p).Stream(ctx, slices.Values(sizes)) {
		if err != nil {
			return n, err
		}
		if r.Index != n || r.Err != nil || !bytes.Equal(r.Value, bytes.Repeat([]byte{byte(sizes[n])}, sizes[n])) {
			return n, fmt.Errorf("result %d: item %d, %d bytes, %w", n, r.Index, len(r.Value), r.Err)
		}
		n++
	}
	return n, nil
}

func unordered(ctx context.Context, p *host.Pool, sizes []int) (n int, err error) {
	for r, err := range typed[int, []byte](p).Unordered(ctx, slices.Values(sizes)) {
		if err != nil {
			return n, err
		}
		if size := sizes[r.Index]; r.Err != nil || !bytes.Equal(r.Value, bytes.Repeat([]byte{byte(size)}, size)) {
			return n, fmt.Errorf("item %d, %d bytes, %w", r.Index, len(r.Value), r.Err)
		}
		n++
	}
	return n, nil
}

// An item that is begun again needs a worker of its own, while all workers wait for the host to take results that come behind it. It gets one, and no
// other item fails for that, or is begun again.
func TestARetryIsNotHeldUpByResultsThatWait(t *testing.T) {
	for name, cfg := range map[string]host.Config{
		"threads":      {Workers: 2, Threads: 3, Batch: 2},
		"one worker":   {Workers: 1, Batch: 12},
		"large batch":  {Workers: 2, Batch: 24},
		"small window": {Workers: 1, Batch: 3, Window: 1},
		"many at once": {Workload: bulkyManyTwice, Workers: 1, Batch: 6},
	} {
		for kind, way := range map[string]func(*host.Typed[order, []byte], context.Context, iter.Seq[order]) iter.Seq2[host.Result[[]byte], error]{
			"ordered": (*host.Typed[order, []byte]).Stream, "unordered": (*host.Typed[order, []byte]).Unordered,
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				if cfg.Retries = 2; cfg.Workload == nil {
					cfg.Workload = bulkyOnce
				}
				var ended reasons
				cfg.Observer = &ended
				p := open(t, cfg)
				items := make([]order, 24)
				flag := filepath.Join(t.TempDir(), "begun")
				for i := range items {
					items[i] = order{Do: flag, N: i}
				}
				within(t, "a stream with a retry", 2*time.Minute, func() {
					seen := map[int]bool{}
					for r, err := range way(typed[order, []byte](p), t.Context(), slices.Values(items)) {
						if err != nil || r.Err != nil || len(r.Value) != 8<<20 || r.Value[0] != byte(r.Index) {
							t.Fatalf("result %d: got %d bytes, %v, %v", r.Index, len(r.Value), r.Err, err)
						}
						if kind == "ordered" && r.Index != len(seen) || seen[r.Index] {
							t.Fatalf("got result %d after %d others", r.Index, len(seen))
						}
						seen[r.Index] = true
					}
					if len(seen) != len(items) {
						t.Errorf("got %d results, want %d", len(seen), len(items))
					}
					p.Close()
					ended.mu.Lock()
					defer ended.mu.Unlock()
					if slices.ContainsFunc(ended.all, func(reason string) bool { return strings.Contains(reason, "broke the protocol") }) {
						t.Errorf("workers ended for %q, want none for the protocol", ended.all)
					}
				})
			})
		}
	}
}

// slowOnce exceeds its time limit the first time it runs an item, and then creates a file. If the file exists it returns a large result.
var slowOnce = sdk.Func("slow-once", func(ctx context.Context, o order) ([]byte, error) {
	flag := fmt.Sprintf("%s-%d", o.Do, o.N)
	if _, err := os.Stat(flag); err != nil && o.N%3 == 0 {
		_ = os.WriteFile(flag, nil, 0o600)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return bytes.Repeat([]byte{byte(o.N)}, 8<<20), nil
}).With(sdk.Manifest{Idempotent: true})

func init() { workloads = append(workloads, slowOnce) }

// If items in the middle of a batch run again, the results of the other items still arrive, and in order.
func TestRetriesWithinABatchKeepTheOrder(t *testing.T) {
	p := open(t, host.Config{Workload: slowOnce, Workers: 2, Batch: 10, ItemTimeout: 300 * time.Millisecond, Grace: 10 * time.Second, Retries: 2})
	items := make([]order, 20)
	flag := filepath.Join(t.TempDir(), "begun")
	for i := range items {
		items[i] = order{Do: flag, N: i}
	}
	within(t, "a stream with retries", 2*time.Minute, func() {
		n := 0
		for r, err := range typed[order, []byte](p).Stream(t.Context(), slices.Values(items)) {
			if err != nil || r.Err != nil || r.Index != n || len(r.Value) != 8<<20 || r.Value[0] != byte(n) {
				t.Fatalf("result %d: got item %d, %d bytes, %v, %v", n, r.Index, len(r.Value), r.Err, err)
			}
			if n%3 == 0 && r.Attempts < 2 {
				t.Errorf("item %d: got %d attempts, want two", n, r.Attempts)
			}
			n++
		}
		if n != len(items) {
			t.Errorf("got %d results, want %d", n, len(items))
		}
	})
}

// Whoever gives up while workers wait for credit is not held up, and the workers live on.
func TestACancelEndsTheWaitForCredit(t *testing.T) {
	p := open(t, host.Config{Workload: bulky, Workers: 2, Threads: 4, Batch: 2})
	pids := func() (all []int) {
		for _, w := range p.Workers() {
			all = append(all, w.PID)
		}
		return all
	}
	before := pids()
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	within(t, "a stream that is given up", time.Minute, func() {
		for _, err := range typed[int, []byte](p).Stream(ctx, slices.Values(slices.Repeat([]int{20 << 20}, 50))) {
			once.Do(cancel)
			_ = err
		}
	})
	within(t, "the run after it", time.Minute, func() {
		if _, err := ordered(t.Context(), p, []int{1, 5 << 20, 3}); err != nil {
			t.Error(err)
		}
	})
	if after := pids(); !slices.Equal(before, after) {
		t.Errorf("got the worker processes %v, want %v", after, before)
	}
	for _, w := range p.Workers() {
		if w.Batches > 0 {
			t.Errorf("worker %d holds %d batches, want none", w.Worker, w.Batches)
		}
	}
}
