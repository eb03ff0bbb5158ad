package host

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parhost/parhost/internal/wire"
)

// sample draws as many items as keep so many workers busy for so long, given their mean.
func sample(workers int, busy, mean time.Duration, draw func(r *rand.Rand) float64) []int64 {
	r := rand.New(rand.NewPCG(1, 2))
	items := make([]int64, workers*int(busy/mean))
	for i := range items {
		items[i] = int64(draw(r))
	}
	return items
}

func alike(workers int, busy, each time.Duration) []int64 {
	return sample(workers, busy, each, func(*rand.Rand) float64 { return float64(each) })
}

// mixed is items most of which are short, and one in so many long.
func mixed(workers int, busy, short, long time.Duration, one int) []int64 {
	mean := (short*time.Duration(one-1) + long) / time.Duration(one)
	return sample(workers, busy, mean, func(r *rand.Rand) float64 {
		if r.IntN(one) == 0 {
			return float64(long)
		}
		return float64(short)
	})
}

// jump is items of 1 µs, then of 1 ms, then of 1 µs again.
func jump(workers int) []int64 {
	short := slices.Repeat([]int64{int64(time.Microsecond)}, 2000*workers)
	return slices.Concat(short, alike(workers, 2*time.Second, time.Millisecond), short)
}

// inputs are item times that batches have to suit.
//
// Nothing can help a run whose longest item begins last. So each worker has three seconds to do, of which the longest of the items that
// are drawn takes less than a fiftieth.
func inputs(workers int) map[string][]int64 {
	const busy, most = 3 * time.Second, float64(40 * time.Millisecond)
	unit := 50 * time.Microsecond
	if workers > 8 {
		unit *= 4 // or there would be too many to be simulated in a moment
	}
	mean := func(d time.Duration, factor float64) time.Duration { return time.Duration(float64(d) * factor) }
	inputs := map[string][]int64{
		"all 300 µs": alike(workers, busy, 6*unit),
		"all 7 ms":   alike(workers, busy, 7*time.Millisecond),
		"all 9 ms":   alike(workers, busy, 9*time.Millisecond),
		"all 12 ms":  alike(workers, busy, 12*time.Millisecond),
		"all 2 s":    alike(workers, 10*busy, 2*time.Second),
		"bimodal":    mixed(workers, busy, 2*unit, 20*time.Millisecond, 100),
		"bimodal, the long ones being most of the work": mixed(workers, busy, unit/5, 20*time.Millisecond, 20),
		"lognormal": sample(workers, busy, mean(unit, 2*math.Exp(1.5*1.5/2)), func(r *rand.Rand) float64 {
			return min(most, float64(2*unit)*math.Exp(1.5*r.NormFloat64()))
		}),
		"Pareto": sample(workers, busy, mean(unit, 3.7), func(r *rand.Rand) float64 {
			return min(most, float64(unit)/math.Pow(r.Float64(), 1/1.3))
		}),
		"a jump by a thousand, and back": jump(workers),
	}
	return inputs
}

// ideal is the least time that an input can take on so many workers: together they do all of it, and none can share an item.
func ideal(items []int64, workers int) (ideal, sum time.Duration) {
	for _, v := range items {
		sum += time.Duration(v)
	}
	return max(sum/time.Duration(workers), time.Duration(slices.Max(items))), sum
}

// What is promised of batches, for items whose times nobody has told: no worker idles for long; they are few enough to cost next to
// nothing, and short enough that little is lost with one. What the host does takes no time on the fake clock. It is in the price of a
// batch, which simulated processes pay, and which is counted.
func (s simulation) check(t *testing.T) {
	t.Helper()
	ideal, sum := ideal(s.items, s.cfg.Workers)
	took, log := s.run(t)
	ratio, cost := float64(took)/float64(ideal), float64(log.batches)*float64(batchPrice)/float64(sum)
	t.Logf("%.3f × the ideal, dispatch %.2f %% of the work", ratio, 100*cost)
	if ratio > 1.05 {
		t.Errorf("makespan: %v, %.3f × the ideal %v, want at most 1.05 ×", took, ratio, ideal)
	}
	if cost > 0.01 {
		t.Errorf("dispatch: %d batches of %v cost %.2f %% of the work, want at most 1 %%", log.batches, batchPrice, 100*cost)
	}
	if log.longest > budget {
		t.Errorf("a batch began an item after %v, want none after %v", log.longest, budget)
	}
}

func TestBatchesSuitTheTimesOfItems(t *testing.T) {
	for _, workers := range []int{2, 8, 64} {
		for name, items := range inputs(workers) {
			for input, pipe := range map[string]bool{"slice": false, "pipe": true} {
				t.Run(fmt.Sprintf("%s/%d processes/%s", name, workers, input), func(t *testing.T) {
					t.Parallel()
					simulation{cfg: Config{Workers: workers}, items: items, pipe: pipe}.check(t)
				})
			}
		}
	}
	for name, items := range inputs(8) {
		t.Run(name+"/8 goroutines", func(t *testing.T) {
			t.Parallel()
			simulation{cfg: Config{Workers: 8, Mode: ModeGoroutine}, items: items}.check(t)
		})
	}
	t.Run("all 1 µs/2 processes", func(t *testing.T) {
		t.Parallel()
		simulation{cfg: Config{Workers: 2}, items: alike(2, 600*time.Millisecond, time.Microsecond)}.check(t)
	})
}

// Results are kept until all of their batch are there, so that short items with long results need small batches.
func TestBatchesAreBoundedByTheirResults(t *testing.T) {
	s := newSizer(&Config{Workers: 2}, 2, 1)
	s.observe(trial{size: 64, done: 64, run: time.Millisecond, bytes: 64 * wire.BatchBytes / 4})
	if n := s.size(-1); n != 4 {
		t.Errorf("after results of a quarter of the bound: got a batch of %d items, want 4", n)
	}
	for range 100 {
		s.observe(trial{size: 64, done: 64, run: time.Millisecond, bytes: 64 * 8})
	}
	if n := s.size(-1); n < 500 {
		t.Errorf("after many of a few bytes: got a batch of %d items, want as many as fill it", n)
	}
}

// A run does not use thousands of threads before it knows that its items are long.
func TestLanesDoubleAtTheBeginningOfARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSizer(new(Config), 2, 4096)
		few, _ := s.lanes()
		if most := max(2, perCPU*runtime.GOMAXPROCS(0)); few != min(most, 8192) {
			t.Errorf("at the beginning: got %d lanes, want %d", few, most)
		}
		for n := few; n < 8192; n = min(2*n, 8192) {
			if got, early := s.lanes(); got != n || !early {
				t.Errorf("after %v: got %d lanes and early %v, want %d and true", time.Since(s.begun), got, early, n)
			}
			time.Sleep(rampTime)
		}
		if got, early := s.lanes(); got != 8192 || early {
			t.Errorf("in the end: got %d lanes and early %v, want 8192 and false", got, early)
		}
		s.observe(trial{size: 1, done: 1, run: time.Microsecond})
		if got, _ := s.lanes(); got != few {
			t.Errorf("with short items: got %d lanes, want %d", got, few)
		}
	})
}
