package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// badEngine carries batches in memory, and does all that an engine may do wrong: it loses, repeats, delays and reorders. It keeps the first result of a batch,
// which is all that a submitter relies on.
type badEngine struct {
	engine.Engine // what a submitter does not use
	rand          *rand.Rand
	lose, repeat  float64       // share of batches and of messages about results
	delay         time.Duration // the longest
	stall         time.Duration // from now on, nothing is reported for so long
	refuse        error         // of Put
	short         bool          // nodes store results of a part of their batches

	mu      sync.Mutex
	began   time.Time
	queued  map[engine.Key][]byte
	results map[engine.Key]engine.Result
	reports chan engine.Result
	ran     int // batches
	job     []byte
	nodes   map[string][]byte
}

func newBadEngine(seed uint64) *badEngine {
	return &badEngine{
		rand: rand.New(rand.NewPCG(seed, 1)), began: time.Now(), queued: map[engine.Key][]byte{}, results: map[engine.Key]engine.Result{}, reports: make(chan engine.Result, 1<<16),
	}
}

func (e *badEngine) chance(share float64) bool { return e.rand.Float64() < share }

// Put runs the batch after a while, unless it is lost.
func (e *badEngine) Put(_ context.Context, _ string, key engine.Key, body []byte) (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refuse != nil {
		return 0, e.refuse
	}
	if e.chance(e.lose / 4) {
		return 0, errors.New("the server is away")
	}
	if e.queued[key] != nil {
		return 0, nil
	}
	if e.chance(e.lose) {
		return 0, nil
	}
	e.queued[key] = body
	times := 1
	if e.chance(e.repeat) {
		times = 2
	}
	for range times {
		time.AfterFunc(time.Duration(e.rand.Int64N(int64(e.delay))), func() { e.run(key, body) })
	}
	return 0, nil
}

// run is a node: it doubles each number.
func (e *badEngine) run(key engine.Key, body []byte) {
	_, first, items, err := decodeBatch(body)
	if err != nil || first != key.First {
		panic(fmt.Sprint(err, first, key))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ran++
	n := len(items)
	if e.short && n > 1 {
		n = 1 + e.rand.IntN(n)
	}
	results := make([]result, n)
	for i := range results {
		x, _ := strconv.Atoi(string(items[i]))
		results[i] = result{Worker: 1, Attempts: 1, Run: time.Millisecond, Value: json.RawMessage(strconv.Itoa(2 * x))}
	}
	text, err := encodeResults(fmt.Sprint("node", e.ran), first, items, results, time.Millisecond)
	if err != nil {
		panic(err)
	}
	delete(e.queued, key)
	r, there := e.results[key]
	if !there {
		r = engine.Result{Key: key, Items: n, Body: text}
		e.results[key] = r
	}
	if e.chance(e.lose) || time.Since(e.began) < e.stall {
		return
	}
	e.reports <- r
	if e.chance(e.repeat) {
		e.reports <- r
	}
}

func (e *badEngine) Lookup(_ context.Context, key engine.Key) (engine.Result, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r, ok := e.results[key]; ok {
		return r, nil
	}
	return engine.Result{}, engine.ErrNotFound
}

func (e *badEngine) Discard(_ context.Context, key engine.Key) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.results, key)
	return nil
}

func (e *badEngine) Stored(_ context.Context, _ engine.JobKey, each func(engine.Result)) (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.results {
		each(engine.Result{Key: r.Key, Items: r.Items})
	}
	return 0, nil
}

func (e *badEngine) Follow(ctx context.Context, _ engine.JobKey, _ uint64, each func(engine.Result)) error {
	for {
		select {
		case r := <-e.reports:
			each(r)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (e *badEngine) Backlog(context.Context, string) (engine.Backlog, error) {
	return engine.Backlog{}, nil
}

func (e *badEngine) Remove(context.Context, string, engine.JobKey, bool) error { return nil }

func (e *badEngine) PutJob(_ context.Context, _ engine.JobKey, body []byte, _ uint64) (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.job = body
	return 1, nil
}
func (e *badEngine) LeaseTime() time.Duration { return 10 * time.Second }

func (e *badEngine) RemoveJob(context.Context, engine.JobKey) error { return nil }
func (e *badEngine) Tell(engine.JobKey, string) error               { return nil }
func (e *badEngine) Listen(string, func(engine.JobKey, string)) (func(), error) {
	return func() {}, nil
}
func (e *badEngine) Nodes(context.Context) (map[string][]byte, error) { return e.nodes, nil }

func testJob(e engine.Engine, batch int) *Job {
	c := &Cluster{engine: e, tenant: "t", log: hclog.NewNullLogger()}
	return &Job{
		c: c, key: engine.JobKey{Tenant: "t", Job: "j"}, pool: "p", cfg: host.Config{Batch: batch}, named: true, stopping: make(chan struct{}),
		entry: &clusterpb.Job{CreatedUnixNs: 1}, spec: &clusterpb.Spec{Plugin: &clusterpb.Plugin{Name: "double"}},
	}
}

func counts(n int) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for i := range n {
			if !yield(json.RawMessage(strconv.Itoa(i))) {
				return
			}
		}
	}
}

// checkDoubles ranges over a job of the numbers up to n.
func checkDoubles(t *testing.T, results iter.Seq2[result, error], n int, ordered bool) {
	t.Helper()
	seen := make([]bool, n)
	next := 0
	for r, err := range results {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case r.Err != nil || string(r.Value) != strconv.Itoa(2*r.Index):
			t.Fatalf("got %+v, want the double of %d", r, r.Index)
		case seen[r.Index]:
			t.Fatalf("got item %d twice", r.Index)
		case ordered && r.Index != next:
			t.Fatalf("got item %d, want %d", r.Index, next)
		}
		seen[r.Index] = true
		next++
	}
	if next != n {
		t.Fatalf("got %d results, want %d", next, n)
	}
}

func TestABadEngineChangesNoResult(t *testing.T) {
	for name, change := range map[string]func(*badEngine){
		"a good one":                        func(*badEngine) {},
		"loses":                             func(e *badEngine) { e.lose = 0.2 },
		"repeats":                           func(e *badEngine) { e.repeat = 0.5 },
		"reorders":                          func(e *badEngine) { e.delay = 10 * time.Second },
		"stalls":                            func(e *badEngine) { e.stall = 5 * time.Minute },
		"everything":                        func(e *badEngine) { e.lose, e.repeat, e.delay, e.stall = 0.2, 0.3, 5*time.Second, time.Minute },
		"nodes that give a part back":       func(e *badEngine) { e.short = true },
		"everything, and a part comes back": func(e *badEngine) { e.short, e.lose, e.repeat, e.delay = true, 0.1, 0.3, time.Second },
	} {
		for _, ordered := range []bool{true, false} {
			for _, batch := range []int{0, 7} {
				t.Run(fmt.Sprintf("%s, ordered %v, batches %d", name, ordered, batch), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						e := newBadEngine(uint64(len(name)))
						e.delay = 50 * time.Millisecond
						change(e)
						j := testJob(e, batch)
						results := j.Unordered
						if ordered {
							results = j.Stream
						}
						checkDoubles(t, results(t.Context(), counts(5000)), 5000, ordered)
					})
				})
			}
		}
	}
}

func TestAJobGoesOnWhereItsSubmitterDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newBadEngine(3)
		e.delay = time.Second
		for _, err := range testJob(e, 0).Stream(t.Context(), counts(5000)) {
			if err != nil || e.ran > 50 {
				break
			}
		}
		before := e.ran
		checkDoubles(t, testJob(e, 0).Stream(t.Context(), counts(5000)), 5000, true)
		again := e.ran
		checkDoubles(t, testJob(e, 13).Stream(t.Context(), counts(5000)), 5000, true) // all is stored, in batches of other sizes
		if e.ran != again {
			t.Errorf("a job that is done ran %d batches again", e.ran-again)
		}
		t.Logf("%d batches ran before the break, %d until the end", before, again)
	})
}

func TestAJobTakesTheResultsOfBatchesThatItsSubmitterWouldCutOtherwise(t *testing.T) {
	for _, ordered := range []bool{true, false} {
		for _, sizes := range [][2]int{{7, 3}, {3, 7}, {100, 0}, {1, 50}} {
			t.Run(fmt.Sprintf("%d, then %d, ordered %v", sizes[0], sizes[1], ordered), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := newBadEngine(4)
					e.delay = time.Second
					for _, err := range testJob(e, sizes[0]).Stream(t.Context(), counts(5000)) {
						if err != nil {
							t.Fatal(err)
						}
						break // most of the open batches are in the queue
					}
					j := testJob(e, sizes[1])
					results := j.Unordered
					if ordered {
						results = j.Stream
					}
					checkDoubles(t, results(t.Context(), counts(5000)), 5000, ordered)
				})
			})
		}
	}
}

func TestAJobRefusesOtherItems(t *testing.T) {
	for name, items := range map[string]iter.Seq[json.RawMessage]{
		"fewer": counts(900),
		"others": func(yield func(json.RawMessage) bool) {
			for i := range 1000 {
				if i == 700 {
					i = -1
				}
				if !yield(json.RawMessage(strconv.Itoa(i))) {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newBadEngine(5)
				e.delay = time.Second
				checkDoubles(t, testJob(e, 0).Stream(t.Context(), counts(1000)), 1000, true)
				var last error
				for _, err := range testJob(e, 0).Stream(t.Context(), items) {
					last = err
				}
				if other := (*OtherJobError)(nil); !errors.As(last, &other) {
					t.Errorf("got %v, want an OtherJobError", last)
				}
			})
		})
	}
}

func TestARefusalEndsAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newBadEngine(5)
		e.delay, e.refuse = time.Second, engine.ErrRefused
		var last error
		for _, err := range testJob(e, 0).Stream(t.Context(), counts(10)) {
			last = err
		}
		if !errors.Is(last, ErrRefused) {
			t.Errorf("got %v, want ErrRefused", last)
		}
	})
}

// A submitter whose batches nobody takes says so once, and once that it is over.
func TestAJobSaysThatItsBatchesAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newBadEngine(6)
		e.delay, e.refuse = time.Second, engine.ErrFull
		time.AfterFunc(time.Minute, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.refuse = nil
		})
		j := testJob(e, 10)
		var log bytes.Buffer
		j.c.log = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log})
		checkDoubles(t, j.Stream(t.Context(), counts(1000)), 1000, true)
		for _, text := range []string{"the cluster takes no batches", "the cluster takes batches again"} {
			if n := strings.Count(log.String(), text); n != 1 {
				t.Errorf("%q was said %d times, want once:\n%s", text, n, &log)
			}
		}
	})
}

// Of a job without an order, each result once moved all batches that were under way.
func TestUnorderedResultsCostTheSameHoweverManyAreUnderWay(t *testing.T) {
	r := newRun(testJob(nil, 1), false)
	for i := range 20_000 {
		b := &batch{first: uint64(i), items: []json.RawMessage{json.RawMessage("1")}}
		r.open = append(r.open, b)
	}
	moved, next := 0, slices.Clone(r.open)
	for _, b := range next {
		before := len(r.open)
		b.answer = &answer{first: b.first, results: make([]result, 1)}
		if err := r.yieldReady(b, func(result, error) bool { return true }); err != nil {
			t.Fatal(err)
		}
		if len(r.open) != before {
			moved += before
		}
	}
	if moved > 4*len(next) || len(r.open) > 0 || r.yielded != uint64(len(next)) {
		t.Errorf("%d batches were moved %d times, %d are left, and %d results were yielded", len(next), moved, len(r.open), r.yielded)
	}
}

func TestABatchIsCutWhenItCanBeOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newBadEngine(1)
		e.delay = time.Minute
		e.nodes = map[string][]byte{}
		r := newRun(testJob(e, 0), true)
		r.sizer.slots = 8192
		r.queue.read(counts(10_000))
		for r.cut(false) {
		}
		if len(r.open) != leastAsking {
			t.Errorf("%d batches were cut before anything was measured, want the %d that can be offered", len(r.open), leastAsking)
		}
	})
}

// A caller can end a run although the input is silent, as a pipe is whose writer waits.
func TestASilentInputHoldsNoRunUp(t *testing.T) {
	for name, end := range map[string]func(cancel context.CancelFunc, j *Job) bool{
		"cancelled": func(cancel context.CancelFunc, _ *Job) bool { cancel(); return true },
		"stopped":   func(_ context.CancelFunc, j *Job) bool { j.Stop(); return true },
		"broken":    func(context.CancelFunc, *Job) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newBadEngine(1)
				e.delay = time.Millisecond
				silent := make(chan struct{})
				defer close(silent)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				j := testJob(e, 1)
				got := 0
				for _, err := range j.Stream(ctx, func(yield func(json.RawMessage) bool) {
					if yield(json.RawMessage("1")) {
						<-silent
					}
				}) {
					if err != nil {
						break
					}
					if got++; !end(cancel, j) {
						break
					}
				}
				if got != 1 {
					t.Errorf("got %d results, want 1", got)
				}
			})
		})
	}
}

// A result that cannot be read does not hold its job up.
func TestAnUnreadableResultIsReplaced(t *testing.T) {
	for name, junk := range map[string]func(*testing.T, uint64) []byte{
		"junk": func(*testing.T, uint64) []byte { return []byte("junk") },
		"that of another batch": func(t *testing.T, _ uint64) []byte {
			body, err := encodeResults("n", 7, []json.RawMessage{json.RawMessage("1")}, []result{{Value: json.RawMessage("2")}}, 0)
			if err != nil {
				t.Fatal(err)
			}
			return body
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newBadEngine(2)
				e.delay = time.Second
				key := engine.Key{JobKey: engine.JobKey{Tenant: "t", Job: "j"}, First: 0}
				e.results[key] = engine.Result{Key: key, Items: 1, Body: junk(t, 0)}
				checkDoubles(t, testJob(e, 1).Stream(t.Context(), counts(20)), 20, true)
			})
		})
	}
}

// A node that lies about times does not stop the submitter.
func TestImpossibleTimesAreBounded(t *testing.T) {
	s := newSizer(0)
	for range 5 {
		body, err := encodeResults("n", 0, []json.RawMessage{json.RawMessage("1")}, []result{{Value: json.RawMessage("2"), Run: math.MaxInt64, Wait: math.MaxInt64}}, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		a, err := decodeResults(body)
		if err != nil {
			t.Fatal(err)
		}
		s.took(a, time.Now())
		if n := s.size(100, false); n < 1 {
			t.Fatalf("got batches of %d items", n)
		}
	}
}

// A panic of the caller's code ends the run, and nothing of it is left.
func TestAPanicOfTheCallerEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newBadEngine(2)
		e.delay = time.Second
		defer func() {
			if v := recover(); v != "mine" {
				t.Errorf("got the panic %v, want the caller's", v)
			}
		}()
		for _, err := range testJob(e, 1).Stream(t.Context(), counts(20)) {
			if err == nil {
				panic("mine")
			}
		}
	})
}

func TestThePlatformOfAnExecutableIsInItsHeader(t *testing.T) {
	for want, env := range map[string][]string{
		"linux/arm64": {"GOOS=linux", "GOARCH=arm64"}, "darwin/arm64": {"GOOS=darwin", "GOARCH=arm64"}, "windows/amd64": {"GOOS=windows", "GOARCH=amd64"},
	} {
		path := filepath.Join(t.TempDir(), "x")
		cmd := exec.Command("go", "build", "-o", path, "testdata/empty.go")
		cmd.Env = append(os.Environ(), append(env, "CGO_ENABLED=0")...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := platformOf(content); got != want || err != nil {
			t.Errorf("got %q and %v, want %q", got, err, want)
		}
	}
	if got, err := platformOf([]byte("#!/bin/sh\n")); got != anyPlatform || err != nil {
		t.Errorf("got %q and %v for a script", got, err)
	}
	if _, err := platformOf([]byte("hello")); err == nil {
		t.Error("a text counts as an executable")
	}
}
