package host

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/sdk"
)

// A pool that closes drops all of its workers, so dropping one must not search the others.
func TestDroppingManyPlacesTakesNoSearch(t *testing.T) {
	const workers = 1 << 18
	s := &scheduler{limit: workers}
	places := make([]*entry, workers)
	for i := range places {
		places[i] = s.add(nil, 0, time.Time{})
	}
	begun := time.Now()
	for i, e := range places {
		s.retire(e)
		if i%1024 == 0 && time.Since(begun) > 30*time.Second { // it takes 0.1 s
			t.Fatalf("%d of %d places are dropped after %v", i, workers, time.Since(begun))
		}
	}
	if len(s.entries) != 0 {
		t.Errorf("%d places are left, want none", len(s.entries))
	}
}

// When a worker is dropped, one that stands by is lent in its place, and every other worker stays.
func TestADroppedPlaceIsTakenByOneThatStandsBy(t *testing.T) {
	const workers, standby = 4, 3
	for dropped := range workers + standby {
		s := &scheduler{limit: workers}
		var places []*entry
		for range workers + standby {
			places = append(places, s.add(nil, 0, time.Time{}))
		}
		s.drop(places[dropped])
		s.drop(places[dropped]) // again: it is gone
		lent := map[*entry]bool{}
		for e := s.pick(wish{depth: 1}); e != nil; e = s.pick(wish{depth: 1}) {
			lent[e] = true
		}
		if len(lent) != workers || lent[places[dropped]] {
			t.Errorf("place %d is dropped: %d are lent, want %d of the others", dropped, len(lent), workers)
		}
		for i, e := range places {
			switch {
			case i < workers && i != dropped && !lent[e]:
				t.Errorf("place %d is dropped: place %d is not lent", dropped, i)
			case i != dropped && s.entries[e.index] != e, i == dropped && e.index != -1:
				t.Errorf("place %d is dropped: place %d has the index %d", dropped, i, e.index)
			}
		}
	}
}

// A pool says how many workers it could lend at most, which may be fewer than its size.
func TestPeakCountsTheWorkersThatThereWere(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want int
	}{
		"all":                       {Config{Mode: ModeGoroutine, Workers: 3}, 3},
		"a pool that has not grown": {Config{Mode: ModeGoroutine, Workers: 3, MinWorkers: 1}, 1},
		"one after the other":       {Config{Mode: ModeSequential, Workers: 3}, 1},
	} {
		c.cfg.Workload = sdk.Func("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
		pool, err := Open(context.Background(), c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
		if got := pool.Peak(); got != c.want {
			t.Errorf("%s: got a peak of %d workers, want %d", name, got, c.want)
		}
	}
}

// stackedOf counts the leases of workers beyond the batches that they run at once.
func stackedOf(s *scheduler, all []*entry) (n int) {
	for _, e := range all {
		n += max(0, e.leases-max(1, s.threads))
	}
	return n
}

func TestTheBatchesThatWaitBehindOthersAreCounted(t *testing.T) {
	for threads := range 3 {
		s := &scheduler{limit: 3, threads: threads, looking: true} // no timer looks at it
		var all, leased []*entry
		for range 3 {
			all = append(all, s.add(&goroutine{}, 0, time.Time{}))
		}
		check := func(when string) {
			t.Helper()
			if got, want := int(s.stacked.Load()), stackedOf(s, all); got != want {
				t.Errorf("%d threads, %s: got %d, want %d", threads, when, got, want)
			}
		}
		for {
			e := s.pick(wish{depth: 4})
			if e == nil {
				break
			}
			leased = append(leased, e)
			check("after a lease")
		}
		if got, want := int(s.stacked.Load()), 3*(4-max(1, threads)); got != want {
			t.Errorf("%d threads, all leased: got %d, want %d", threads, got, want)
		}
		s.retire(all[0])
		for i, e := range leased {
			end := worker.End{}
			if e == all[1] && i > 6 {
				end.Death = &worker.Death{}
			}
			s.release(e, end, true)
			check("after a release")
		}
		if got := s.stacked.Load(); got != 0 {
			t.Errorf("%d threads, all released: got %d, want 0", threads, got)
		}
	}
}

// If a worker is idle, the batches that wait behind long items are asked for, and no other is to wait behind these items.
func TestNoBatchWaitsBehindALongItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scheduler{limit: 2}
		long := s.add(&goroutine{}, 0, time.Time{})
		pick := func() *entry {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.pick(wish{depth: 2})
		}
		pick()
		pick()
		other := s.add(&goroutine{}, 0, time.Time{})
		at := func(after time.Duration, want bool) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if long.stuck != want || other.stuck {
				t.Fatalf("a worker with two batches, and an idle one: got %v and %v for stuck, want %v and false", long.stuck, other.stuck, want)
			}
		}
		at(recallAfter/2, false)
		s.release(long, worker.End{}, true)
		s.mu.Lock()
		s.lease(long, false) // as if the other worker had not been idle
		s.mu.Unlock()
		at(recallAfter/2, false) // the second batch has just begun
		at(recallAfter, true)
		s.release(long, worker.End{}, false) // the batch that waited has come back
		if a, b := pick(), pick(); a != other || b != other {
			t.Errorf("two batches: got workers %p and %p, want the one without the long item, %p", a, b, other)
		}
		s.release(long, worker.End{}, true)
		if a, b := pick(), pick(); a != long || b != long {
			t.Error("the long item has ended, and its worker is not leased")
		}
	})
}

// A single item goes to the worker that ended a batch last. The items of a run go to all workers, even if the first ones end at once.
func TestTheWorkersOfARunTakeTurns(t *testing.T) {
	const workers = 3
	s := &scheduler{limit: workers}
	for range workers {
		s.add(&goroutine{}, 0, time.Time{})
	}
	for name, c := range map[string]struct {
		warm bool
		want int
	}{
		"items of a run": {false, workers},
		"single items":   {true, 1},
	} {
		s.release(s.pick(wish{depth: 1}), worker.End{}, true)
		seen := map[*entry]bool{}
		for range 2 * workers {
			e := s.pick(wish{depth: 1, warm: c.warm})
			seen[e] = true
			s.release(e, worker.End{}, true)
		}
		if len(seen) != c.want {
			t.Errorf("%s: got %d workers, want %d", name, len(seen), c.want)
		}
	}
}
