package main

import (
	"context"
	"fmt"
	"time"
)

// A row is one piece of work for several contenders. The first of them is the one that the others are compared with.
type row struct {
	name  string
	title string
	about string // what is measured, for the report
	size  int    // of the work, in items
	small int    // size of a short session
	timed int    // items that one time is of; 0 means all
	// perWorker says that a contender has more items because it has more workers, not more to do.
	perWorker bool
	want      func(ctx context.Context, l *lab, n int) (string, error) // the right answer for n items
	// contenders take turns in this order.
	contenders []contender
	goals      []goal
	more       func(r *result) string // further text for the report
}

// A contender is one way to do a row's work.
type contender struct {
	name    string
	items   func(n int) int // how many items it does in a row of size n; nil means n
	measure func(ctx context.Context, l *lab, n int) (measurement, error)
}

func (c *contender) count(n int) int {
	if c.items == nil {
		return n
	}
	return c.items(n)
}

// measurement is what came of one turn.
type measurement struct {
	samples []time.Duration // of the whole work, or of single items
	answer  string          // compared with what the row wants
	peakRSS int64           // bytes of the largest process; 0 if nobody looked
}

// missingError says that a contender cannot run here, and why.
type missingError struct{ what string }

func (e *missingError) Error() string { return e.what + " is not installed" }

// mostSamples bounds the samples of one turn. measure.py has the same bound.
const mostSamples = 50

// warm does the work once unmeasured, then samples it.
func warm(l *lab, work func() error) ([]time.Duration, error) {
	if err := work(); err != nil {
		return nil, err
	}
	return sample(l, work)
}

// sample does the work as often as fits into a turn, but at least once.
func sample(l *lab, work func() error) ([]time.Duration, error) {
	var samples []time.Duration
	for total := time.Duration(0); len(samples) == 0 || total < l.long && len(samples) < mostSamples; {
		begun := time.Now()
		if err := work(); err != nil {
			return nil, err
		}
		took := time.Since(begun)
		samples = append(samples, took)
		total += took
	}
	return samples, nil
}

// each makes one call after the other and times each, after a hundred that do not count.
func each(xs []float64, call func(x float64) (float64, error)) ([]time.Duration, []float64, error) {
	for _, x := range xs[:min(100, len(xs))] {
		if _, err := call(x); err != nil {
			return nil, nil, err
		}
	}
	samples, results := make([]time.Duration, len(xs)), make([]float64, len(xs))
	for i, x := range xs {
		begun := time.Now()
		var err error
		if results[i], err = call(x); err != nil {
			return nil, nil, err
		}
		samples[i] = time.Since(begun)
	}
	return samples, results, nil
}

// A goal is what is promised of a row.
type goal struct {
	text  string
	judge func(r *result) verdict
}

// verdict is what a session says of a goal.
type verdict struct {
	measured string // empty: it could not be judged, for want of a contender
	met      bool
}

// atMost promises that parhost takes no longer than limit.
func atMost(limit time.Duration) goal {
	return goal{fmt.Sprintf("≤ %s", showTime(limit)), func(r *result) verdict {
		o := r.of(ours)
		if !o.measured() {
			return verdict{}
		}
		return verdict{showTime(o.median()), o.median() <= limit}
	}}
}

// noLongerThan promises the same of one of several things that parhost does.
func noLongerThan(name string, limit time.Duration) goal {
	return goal{fmt.Sprintf("%s: ≤ %s", name, showTime(limit)), func(r *result) verdict {
		o := r.of(name)
		if !o.measured() {
			return verdict{}
		}
		return verdict{showTime(o.median()), o.median() <= limit}
	}}
}

// itemsPerSecond promises how many items parhost does at least.
func itemsPerSecond(least float64) goal {
	return goal{fmt.Sprintf("≥ %s items/s", showCount(least)), func(r *result) verdict {
		o := r.of(ours)
		if !o.measured() {
			return verdict{}
		}
		return verdict{showCount(r.rate(o)) + " items/s", r.rate(o) >= least}
	}}
}

// peakAtMost promises that no process of parhost ever holds more than limit bytes.
func peakAtMost(limit int64) goal {
	return goal{fmt.Sprintf("RSS ≤ %s", showBytes(limit)), func(r *result) verdict {
		o := r.of(ours)
		if !o.measured() || o.peakRSS == 0 {
			return verdict{}
		}
		return verdict{showBytes(o.peakRSS), o.peakRSS <= limit}
	}}
}

// timesFaster promises that a peer takes at least factor times as long.
func timesFaster(name string, factor float64, peer string) goal {
	text := fmt.Sprintf("%s: ≥ %g × faster", peer, factor)
	if factor == 1 {
		text = peer + ": faster"
	}
	return goal{text, func(r *result) verdict {
		ratio, ok := r.ratio(peer, name)
		if !ok {
			return verdict{}
		}
		measured := showRatio(ratio) + " faster"
		if ratio < 1 {
			measured = showRatio(1/ratio) + " slower"
		}
		return verdict{measured, ratio >= factor}
	}}
}

// timesAsLong promises that a contender takes at most factor times as long as another.
func timesAsLong(name string, factor float64, other string) goal {
	return goal{fmt.Sprintf("≤ %g × %s", factor, other), func(r *result) verdict {
		ratio, ok := r.ratio(name, other)
		if !ok {
			return verdict{}
		}
		return verdict{fmt.Sprintf("%.4g ×", ratio), ratio <= factor}
	}}
}
