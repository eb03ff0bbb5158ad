//go:build unix

package host_test

import (
	"errors"
	"iter"
	"maps"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

func init() {
	maps.Copy(fakes, map[string]func(){
		"hands back item 7": lie(func(b *workerpb.Batch) *workerpb.Results {
			if b.GetFirst() <= 7 && 7 < b.GetFirst()+uint64(b.GetCount()) {
				return handedBack(b)
			}
			return good(b, b.GetCount())
		}),
		"hands back after a while": lie(func(b *workerpb.Batch) *workerpb.Results {
			time.Sleep(time.Duration(500+os.Getpid()*97%500) * time.Millisecond)
			return handedBack(b)
		}),
		"recycles after an item": func() {
			left := false
			lie(func(b *workerpb.Batch) *workerpb.Results {
				if left {
					return handedBack(b)
				}
				left = true
				r := good(b, 1)
				r.Leaving = true
				return r
			})()
		},
		"recycles after an item, silently": func() { // its host learns of that from the batch that follows
			left := false
			lie(func(b *workerpb.Batch) *workerpb.Results {
				if left {
					return handedBack(b)
				}
				left = true
				r := good(b, 1)
				r.Leaving = b.GetCount() > 1
				return r
			})()
		},
		"what waits is overdue": func() { fakeServe(&liar{work: hoarding(1, 2, false, waitsTooLong)}) },
		"overdue at once": func() {
			fakeServe(&liar{work: dialogue(func(s stream, b *workerpb.Batch) error { return s.Send(overdue(b)) })})
		},
		"canceled":        errs(func(e *workerpb.ItemError) { e.Kind = workerpb.Kind_KIND_CANCELED }),
		"timeout":         errs(func(e *workerpb.ItemError) { e.Kind = workerpb.Kind_KIND_TIMEOUT }),
		"oversize":        errs(func(e *workerpb.ItemError) { e.Kind = workerpb.Kind_KIND_OVERSIZE }),
		"oversize of 100": errs(func(e *workerpb.ItemError) { e.Kind, e.Size = workerpb.Kind_KIND_OVERSIZE, 100 }),
		"kind 1000":       errs(func(e *workerpb.ItemError) { e.Kind = 1000 }),
		"timeouts in turn": func() { // one limit passes, and all of a batch are said to have passed theirs
			fakeServe(&liar{work: dialogue(func(s stream, b *workerpb.Batch) error {
				time.Sleep(time.Duration(b.GetItemTimeoutNs()))
				r := good(b, b.GetCount())
				for at := range b.GetCount() {
					r.Errors = append(r.Errors, &workerpb.ItemError{Item: at, Kind: workerpb.Kind_KIND_TIMEOUT, Message: "mine"})
				}
				return s.Send(results(r))
			})})
		},
		"4096 threads": func() { fakeServe(&liar{manifest: threads(4096), work: honest(func() {})}) },
		"100 at once":  func() { fakeServe(&liar{manifest: threads(128), work: hoarding(100, 100, true, answerAll)}) },
	})
}

func threads(n uint32) *workerpb.Manifest {
	return &workerpb.Manifest{Name: liarName(), ItemKind: "json", ResultKind: "json", Threads: n}
}

// handedBack is the end of a batch of which nothing was done.
func handedBack(b *workerpb.Batch) *workerpb.Results {
	return &workerpb.Results{Batch: b.GetId(), Last: true, Leaving: true}
}

// errs answers each item with an error.
func errs(as func(e *workerpb.ItemError)) func() {
	return lie(func(b *workerpb.Batch) *workerpb.Results {
		r := good(b, b.GetCount())
		for at := range b.GetCount() {
			e := &workerpb.ItemError{Item: at, Message: "mine"}
			as(e)
			r.Errors = append(r.Errors, e)
		}
		return r
	})
}

func overdue(b *workerpb.Batch) *workerpb.WorkResponse {
	return &workerpb.WorkResponse{Message: &workerpb.WorkResponse_Overdue{Overdue: &workerpb.Overdue{Batch: b.GetId()}}}
}

// hoarding is a worker that reads until it holds so many batches, and answers them as it likes. If it does not wait for them, it answers
// honestly what it holds after a moment.
func hoarding(least, full int, wait bool, answer func(s stream, held []*workerpb.Batch) error) func(stream) error {
	var mu sync.Mutex
	var held []*workerpb.Batch
	return dialogue(func(s stream, b *workerpb.Batch) error {
		mu.Lock()
		defer mu.Unlock()
		held = append(held, b)
		if len(held) >= full {
			all := held
			held = nil
			return answer(s, all)
		}
		if !wait && len(held) == least {
			time.AfterFunc(20*time.Millisecond, func() {
				mu.Lock()
				defer mu.Unlock()
				_ = answerAll(s, held)
				held = nil
			})
		}
		return nil
	})
}

func answerAll(s stream, held []*workerpb.Batch) error {
	for _, b := range held {
		if err := s.Send(results(good(b, b.GetCount()))); err != nil {
			return err
		}
	}
	return nil
}

// waitsTooLong says that the second of two batches is overdue, whose turn has not come, and goes on with neither.
func waitsTooLong(s stream, held []*workerpb.Batch) error { return s.Send(overdue(held[1])) }

// Workers that do nothing are replaced, but not for ever: at once, or in turns, so that there always is one that may still do something.
func TestWorkersThatHandEverythingBackBreakThePool(t *testing.T) {
	for _, timeout := range []time.Duration{0, 2 * time.Second} {
		t.Run("at once, item timeout "+timeout.String(), func(t *testing.T) {
			t.Parallel()
			atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
				cfg := fake(t, "nothing done, leaving")
				cfg.Workers, cfg.Sandbox, cfg.ItemTimeout = 2, policy, timeout
				comesToNothing(t, cfg)
			})
		})
		t.Run("in turns, item timeout "+timeout.String(), func(t *testing.T) {
			t.Parallel()
			cfg := fake(t, "hands back after a while")
			cfg.Workers, cfg.ItemTimeout = 4, timeout
			comesToNothing(t, cfg)
		})
	}
}

// comesToNothing runs items over workers that do nothing.
func comesToNothing(t *testing.T, cfg host.Config) {
	t.Helper()
	events := new(recorder)
	cfg.Observer = events
	most := 5 * cfg.Workers
	p := open(t, cfg)
	within(t, "Map over workers that do nothing", 60*time.Second, func() {
		_, err := typed[int, int](p).Map(t.Context(), make([]int, 100))
		e, ok := errors.AsType[*host.BrokenError](err)
		if !ok || e.Idle < most || !strings.Contains(err.Error(), "workers in a row") || !strings.Contains(err.Error(), "asked to be replaced") {
			t.Errorf("Map: got %v, want a BrokenError with how many workers did nothing, and the last reason", err)
		}
	})
	p.AwaitObserver()
	if n := len(ofKind[host.WorkerStarted](events)); n > most+2*cfg.Workers {
		t.Errorf("workers started: got %d, want %d, and those on their way", n, most)
	}
}

// An item that every worker hands back fails alone.
func TestAnItemThatNoWorkerBeginsFails(t *testing.T) {
	for _, workers := range []int{1, 2} {
		cfg := fake(t, "hands back item 7")
		cfg.Workers, cfg.Batch = workers, 1
		p := open(t, cfg)
		within(t, "Map with an item that no worker begins", 60*time.Second, func() {
			_, err := typed[int, int](p).Map(t.Context(), make([]int, 50))
			errs := mapErrors(t, "Map", err)
			if e := errs[7]; len(errs) != 1 || e == nil || e.Kind != host.KindCrashed || e.Cause != host.CauseProtocol || !strings.Contains(e.Message, "asked to be replaced") {
				t.Errorf("Map with %d workers: got %v, want item 7 crashed, with the last reason", workers, err)
			}
		})
	}
}

// A worker may leave after as many items as it likes, if it has run one.
func TestWorkersThatRecycleThemselvesGoOnForEver(t *testing.T) {
	for _, name := range []string{"recycles after an item", "recycles after an item, silently"} {
		for _, batch := range []int{0, 1, 8} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				cfg := fake(t, name)
				cfg.Workers, cfg.Batch = 2, batch
				p := open(t, cfg)
				within(t, "Map over workers that leave after each item", 120*time.Second, func() {
					got, err := typed[int, int](p).Map(t.Context(), make([]int, 40))
					if err != nil || got[39] != 1 {
						t.Errorf("Map: got %v, %v, want ones", got, err)
					}
				})
			})
		}
	}
}

// A batch that waits for its turn cannot be overdue, and neither can one be that has just been sent. A host that believed it killed a worker
// and acquitted all that it held.
func TestAnOverdueThatCannotBeIsALie(t *testing.T) {
	t.Run("of a batch that waits", func(t *testing.T) {
		t.Parallel()
		atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
			events := new(recorder)
			cfg := fake(t, "what waits is overdue")
			cfg.Workers, cfg.Sandbox, cfg.ItemTimeout, cfg.Batch, cfg.Observer = 2, policy, 200*time.Millisecond, 1, events
			p := open(t, cfg)
			within(t, "Map", 120*time.Second, func() {
				_, err := typed[int, int](p).Map(t.Context(), make([]int, 40))
				for i, e := range mapErrors(t, "Map", err) {
					if e.Kind != host.KindCrashed || !strings.Contains(e.Message, "broke the protocol") {
						t.Errorf("item %d: got %v, want crashed for a lie, or a result", i, e)
					}
				}
			})
			p.Close()
			lies := 0
			for _, e := range ofKind[host.WorkerEnded](events) {
				if strings.Contains(e.Reason, "waits for its turn") {
					lies++
				}
			}
			if lies == 0 {
				t.Error("no worker ended for its lie: two batches were never in one worker, or nobody minded")
			}
		})
	})
	for name, c := range map[string]struct {
		timeout time.Duration
		says    string
	}{
		"without a limit": {0, "has no time limit"},
		"too soon":        {time.Hour, "its time limit is 1h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := fake(t, "overdue at once")
			cfg.ItemTimeout = c.timeout
			lieTo(t, cfg, "overdue at once", c.says)
		})
	}
}

// A worker's word for what became of an item counts only where it can be true: else the item would have no record, or one more attempt.
func TestAKindThatCannotBeCountsAsFailed(t *testing.T) {
	for name, c := range map[string]struct {
		timeout time.Duration
		says    string
	}{
		"canceled":         {0, "its host had not canceled it"},
		"timeout":          {0, "there is none"},
		"timeout, limited": {time.Hour, "time limit of 1h0m0s"},
		"oversize":         {0, "of 0 bytes is too large, and the limit is 67108864"},
		"oversize of 100":  {0, "of 100 bytes is too large, and the limit is 67108864"},
		"kind 1000":        {0, ""},
	} {
		for way, inline := range map[string]bool{"link": false, "stream": true} {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
					cfg := fake(t, strings.TrimSuffix(name, ", limited"))
					cfg.Inline, cfg.Sandbox, cfg.ItemTimeout, cfg.RetryAlways, cfg.Retries = inline, policy, c.timeout, true, 3
					p := open(t, cfg)
					pid := p.Workers()[0].PID
					_, err := typed[int, int](p).Map(t.Context(), make([]int, 3))
					errs := mapErrors(t, "Map", err)
					if len(errs) != 3 {
						t.Errorf("got %v, want all items failed", err)
					}
					for i, e := range errs {
						if e.Kind != host.KindFailed || e.Attempts != 1 || !strings.Contains(e.Message, c.says) || !strings.Contains(e.Message, "mine") {
							t.Errorf("item %d: got %v, want failed at the first attempt, with %q and the worker's own words", i, e, c.says)
						}
					}
					if workers := p.Workers(); len(workers) != 1 || workers[0].PID != pid {
						t.Errorf("workers: got %+v, want the one that there was", workers)
					}
				})
			})
		}
	}
}

// Items of a batch run one after the other, so that each limit takes its time.
func TestOneLimitIsTheTimeOfOneItem(t *testing.T) {
	cfg := fake(t, "timeouts in turn")
	cfg.ItemTimeout, cfg.Batch, cfg.Grace = 300*time.Millisecond, 4, time.Second
	p := open(t, cfg)
	_, err := typed[int, int](p).Map(t.Context(), make([]int, 4))
	kinds := map[host.Kind]int{}
	for _, e := range mapErrors(t, "Map", err) {
		kinds[e.Kind]++
	}
	if kinds[host.KindTimeout] == 0 || kinds[host.KindFailed] == 0 {
		t.Errorf("got %v, want the first item ended for its time, and the last not believed", kinds)
	}
}

// inputs are ways to have n items run. The function is called when the first result is there.
var inputs = map[string]func(t *testing.T, p *host.Pool, n int, first func()){
	"Map": func(t *testing.T, p *host.Pool, n int, _ func()) {
		t.Helper()
		if got, err := typed[int, int](p).Map(t.Context(), make([]int, n)); err != nil || len(got) != n {
			t.Errorf("Map: got %d results, %v, want %d", len(got), err, n)
		}
	},
	"Stream": func(t *testing.T, p *host.Pool, n int, first func()) {
		t.Helper()
		got := 0
		for r, err := range typed[int, int](p).Stream(t.Context(), repeated(n)) {
			if err != nil || r.Err != nil {
				t.Errorf("Stream: got %v, %v, want no error", err, r.Err)
				return
			}
			if got++; got == 1 {
				first()
			}
		}
		if got != n {
			t.Errorf("Stream: got %d results, want %d", got, n)
		}
	},
}

func repeated(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
			continue
		}
	}
}

// How many threads a worker would run is a number in its manifest, which alone costs its host nothing.
func TestThreadsThatAreNotNeededCostNothing(t *testing.T) {
	for name, run := range inputs {
		t.Run(name, func(t *testing.T) {
			atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
				const n = 100_000
				batches := n
				for attempt := 0; attempt < 8 && batches > n/20; attempt++ { // on a busy machine, the first items may seem long, and then get many threads
					events := new(recorder)
					cfg := fake(t, "4096 threads")
					cfg.Workers, cfg.Observer, cfg.Sandbox = 2, events, policy
					p := open(t, cfg)
					run(t, p, 3, func() {
						if n := runtime.NumGoroutine(); n > 2000 {
							var where strings.Builder
							_ = pprof.Lookup("goroutine").WriteTo(&where, 1) // the most frequent stacks come first
							t.Errorf("goroutines of a host with three items: got %d, want no more than items and workers need\n%.4000s", n, where.String())
						}
					})
					run(t, p, n, func() {})
					p.AwaitObserver()
					batches = len(ofKind[host.BatchDone](events))
					p.Close()
				}
				if batches > n/20 {
					t.Errorf("batches of %d short items: got %d, want %d at the most", n, batches, n/20)
				}
			})
		})
	}
}

// Threads that are needed are used, all of them.
func TestThreadsAreUsedWhereItemsAreLong(t *testing.T) {
	for name, run := range inputs {
		t.Run(name, func(t *testing.T) {
			p := open(t, fake(t, "100 at once")) // which answers nothing before it holds so many
			within(t, "100 items that wait for one another", 60*time.Second, func() { run(t, p, 100, func() {}) })
		})
	}
}
