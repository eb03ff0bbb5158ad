package history_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/history"
)

// done is the end of a batch of a worker, at a time since the store was made.
func done(s *history.Store, at time.Duration, worker, first, items int, run time.Duration) host.BatchDone {
	return host.BatchDone{At: s.Begun().Add(at), Worker: worker, PID: worker, First: first, Items: items, Trip: run + time.Millisecond, Run: run}
}

// sumOf adds up the bins of a timeline.
func sumOf(t history.Timeline) (busy time.Duration, items, failed int) {
	for _, l := range t.Lanes {
		for _, b := range l.Bins {
			busy += b.Busy
			items += int(b.Items)
			failed += int(b.Failed)
		}
	}
	return busy, items, failed
}

// However long a run is and however it is looked at, nothing is missing from its timeline.
func TestATimelineLosesNothing(t *testing.T) {
	s := history.New()
	const batches = 5000
	step := time.Millisecond
	at := time.Duration(0)
	busy := time.Duration(0)
	for i := range batches {
		run := time.Duration(i%7) * step
		at += run
		if i == batches/2 {
			at += 24 * time.Hour
		}
		s.Observe(done(s, at, 1, 3*i, 3, run))
		busy += run
		if i%10 == 0 {
			s.Observe(host.ItemFailed{At: s.Begun().Add(at), Attempt: host.Attempt{Place: i, Worker: 1, Err: &host.ItemError{Kind: host.KindFailed, Message: "no"}}})
		}
	}
	for _, bins := range []int{1, 2, 100, 1000, 1 << 20} {
		view := s.Timeline(0, at+time.Hour, bins)
		gotBusy, items, failed := sumOf(view)
		if gotBusy != busy || items != 3*batches || failed != batches/10 {
			t.Errorf("in %d bins: got %v busy, %d items and %d failed, want %v, %d and %d", bins, gotBusy, items, failed, busy, 3*batches, batches/10)
		}
		if n := len(view.Lanes[0].Bins); n > bins || len(view.Pool) != n {
			t.Errorf("got %d bins of the lane and %d of the pool, want at most %d and the same", n, len(view.Pool), bins)
		}
	}
	half := s.Timeline(24*time.Hour, at+time.Hour, 100)
	if _, items, _ := sumOf(half); items < 3*batches/2-3 || items > 3*batches/2+3 {
		t.Errorf("the second half: got %d items, want about %d", items, 3*batches/2)
	}
	if half.From > 24*time.Hour || half.From < 23*time.Hour {
		t.Errorf("the second half begins at %v, want 24h or the bin that has it", half.From)
	}
}

// A worker that runs several items at once has a lane for each of them, and no two items are in one lane at the same time.
func TestEachItemThatRunsAtOnceHasALane(t *testing.T) {
	s := history.New()
	s.Observe(host.WorkerStarted{At: s.Begun(), Worker: 1, PID: 1, Threads: 3})
	for i := range 30 { // each batch of 30 ms ends 10 ms after the one before
		s.Observe(done(s, time.Duration(30+10*i)*time.Millisecond, 1, i, 1, 30*time.Millisecond))
	}
	view := s.Timeline(0, time.Minute, 1<<20)
	if len(view.Lanes) != 3 {
		t.Fatalf("got %d lanes, want 3", len(view.Lanes))
	}
	for _, l := range view.Lanes {
		busy := time.Duration(0)
		for i, b := range l.Bins {
			if busy += b.Busy; b.Busy > view.Width {
				t.Errorf("lane %d is busy for %v of the %v of bin %d", l.Thread, b.Busy, view.Width, i)
			}
		}
		if busy != 300*time.Millisecond {
			t.Errorf("lane %d is busy for %v, want 300ms", l.Thread, busy)
		}
	}
}

// The clocks of two processes do not agree, and a worker may say anything: a lane is never busy for longer than the time that passed.
func TestALaneIsNotBusierThanTimePasses(t *testing.T) {
	s := history.New()
	for i := range 100 {
		s.Observe(done(s, time.Duration(i)*10*time.Millisecond, 1, i, 1, time.Hour))
	}
	if busy, _, _ := sumOf(s.Timeline(0, time.Hour, 10)); busy > 990*time.Millisecond {
		t.Errorf("got %v busy in 990ms", busy)
	}
}

// A store of 64 workers takes a few megabytes after a day of batches as after a minute, and so does one of many workers that run many items at once.
func TestAStoreIsBounded(t *testing.T) {
	for _, c := range []struct{ workers, threads int }{{64, 1}, {64, 16}, {5000, 4}} {
		before := heap()
		s := history.New()
		at := time.Duration(0)
		for w := range c.workers {
			s.Observe(host.WorkerStarted{At: s.Begun(), Worker: w + 1, PID: w + 1, Threads: c.threads})
		}
		for round := range 60 {
			at += time.Duration(round) * time.Second
			for w := range c.workers {
				for range min(c.threads, 4) {
					s.Observe(done(s, at, w+1, round, 10, time.Second))
				}
				s.Observe(host.ItemFailed{At: s.Begun().Add(at), Attempt: host.Attempt{Worker: w + 1, Err: &host.ItemError{Kind: host.KindFailed, Message: "no " + string(rune('a'+round))}}})
				s.Observe(host.WorkerEnded{At: s.Begun().Add(at), Worker: w + 1, PID: w + 1, Reason: "died", Cause: host.CauseSignal})
			}
			s.Observe(host.Sampled{At: s.Begun().Add(at), State: host.State{Held: round, Waiting: host.Waiting{For: host.WaitInput}}})
		}
		if used := heap() - before; used > 12<<20 {
			t.Errorf("%d workers of %d threads: got %d KiB, want at most 12 MiB", c.workers, c.threads, used>>10)
		}
		if _, items, _ := sumOf(s.Timeline(0, 2*at, 10)); items != 60*c.workers*min(c.threads, 4)*10 {
			t.Errorf("%d workers of %d threads: got %d items", c.workers, c.threads, items)
		}
		runtime.KeepAlive(s)
	}
}

// heap returns the bytes that are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestFailuresAreGroupedByWhatTheyHaveInCommon(t *testing.T) {
	s := history.New()
	fail := func(place int, kind host.Kind, message string) {
		s.Observe(host.ItemFailed{At: s.Begun().Add(time.Duration(place)), Attempt: host.Attempt{Place: place, Worker: 1, Err: &host.ItemError{Kind: kind, Message: message}}})
	}
	for i := range 100 {
		fail(i, host.KindFailed, fmt.Sprintf(`open "file %d\" of.txt": line %d, at 0x%x, took %v`, i, i*i, 1<<(i%62), time.Duration(i+1)*time.Millisecond+1))
	}
	fail(100, host.KindFailed, "no such person")
	fail(101, host.KindPanicked, "no such person")
	for i := range 100 {
		fail(200+i, host.KindFailed, "reason "+string(rune(0x4e00+i)))
	}
	groups, others := s.Failures()
	if len(groups) != 64 || others != 103-64 {
		t.Errorf("got %d groups and %d other failures, want 64 and %d", len(groups), others, 103-64)
	}
	if g := groups[0]; g.Count != 100 || g.First != 0 || g.Last != 99 || g.Worker != 1 {
		t.Errorf("the largest group: got %+v, want the items 0 to 99", g)
	}
	if got := []int{groups[1].First, groups[2].First}; !slices.Equal(got, []int{100, 101}) {
		t.Errorf("the next groups begin with %v, want 100 and 101: kinds are told apart", got)
	}
	if totals := s.Totals(); totals.Failed != 202 || totals.Kinds[host.KindPanicked] != 1 {
		t.Errorf("got %d failed and %d panics, want 202 and 1", totals.Failed, totals.Kinds[host.KindPanicked])
	}
}

func TestTheSlowestItemsAreKept(t *testing.T) {
	s := history.New()
	for i := range 1000 {
		took := time.Duration(i*7919%1000) * time.Millisecond // each number up to 999 once
		s.Observe(done(s, time.Duration(i)*time.Second, 1+i%3, i, 1, took))
	}
	var took []int
	for _, item := range s.Slowest() {
		if got, want := int(item.Took.Milliseconds()), item.Place*7919%1000; got != want {
			t.Errorf("item %d: got %d ms, want %d", item.Place, got, want)
		}
		took = append(took, int(item.Took.Milliseconds()))
	}
	if d := cmp.Diff([]int{999, 998, 997, 996, 995, 994, 993, 992, 991, 990}, took); d != "" {
		t.Errorf("milliseconds (-want +got):\n%s", d)
	}
	run, _ := s.Times()
	for _, q := range []float64{0.01, 0.5, 0.99, 1} {
		got, want := run.Quantile(q), time.Duration(q*1000)*time.Millisecond
		if diff := float64(got-want) / float64(want); diff < -0.1 || diff > 0.07 {
			t.Errorf("quantile %v: got %v, want about %v", q, got, want)
		}
	}
	if n := run.Count(); n != 1000 {
		t.Errorf("got %d times, want 1000", n)
	}
	sum := 0
	for _, b := range run.Bars() {
		if b.From >= b.To {
			t.Errorf("a bar from %v to %v", b.From, b.To)
		}
		sum += b.Count
	}
	if sum != 1000 {
		t.Errorf("the bars have %d times, want 1000", sum)
	}
}

func TestWaitsAreSharesOfTime(t *testing.T) {
	s := history.New()
	at := s.Begun()
	sample := func(d time.Duration, wait host.Wait) {
		at = at.Add(d)
		s.Observe(host.Sampled{At: at, State: host.State{Waiting: host.Waiting{For: wait, Item: 3}}})
	}
	sample(time.Second, host.WaitStart)
	sample(3*time.Second, host.WaitWorkers)
	s.Refine(func(w host.Waiting) host.Waiting {
		s.Resumed(7)
		if w.For == host.WaitReader {
			w.For = history.WaitJoblog
		}
		return w
	})
	sample(2*time.Second, host.WaitReader)
	sample(time.Second, host.WaitWorkers)
	s.Refine(nil)
	sample(2*time.Second, host.WaitNothing)
	sample(time.Second/2, host.WaitReader)
	want := []history.Share{
		{Wait: host.WaitWorkers, Took: 4 * time.Second},
		{Wait: history.WaitJoblog, Took: 2 * time.Second},
		{Wait: host.WaitStart, Took: time.Second},
		{Wait: host.WaitReader, Took: time.Second / 2},
	}
	if d := cmp.Diff(want, s.Waits()); d != "" {
		t.Errorf("shares (-want +got):\n%s", d)
	}
	if w := s.State().Waiting; w.For != host.WaitReader || w.Item != 3 {
		t.Errorf("got %+v, want what the last sample says", w)
	}
}
