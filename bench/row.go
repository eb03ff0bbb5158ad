package main

import (
	"context"
	"fmt"
	"time"
)

// row is one piece of work for several contenders. The other contenders are compared with the first.
type row struct {
	name  string
	title string
	about string // text about what is measured, for the report
	size  int    // size of the work, in items
	small int    // size in a short session, in items
	timed int    // number of items that one sample measures; 0 means all
	// perWorker says that a contender with more workers also gets more items, so that all workers have the same load.
	perWorker bool
	want      func(ctx context.Context, l *lab, n int) (string, error) // returns the right answer for n items
	// contenders take turns in this order.
	contenders []contender
	goals      []goal
	more       func(r *result) string // returns further text for the report
}

// contender is one way to do a row's work.
type contender struct {
	name    string
	items   func(n int) int // number of items that the contender runs in a row of size n; nil means n
	measure func(ctx context.Context, l *lab, n int) (measurement, error)
}

func (c *contender) count(n int) int {
	if c.items == nil {
		return n
	}
	return c.items(n)
}

// measurement is the result of one turn.
type measurement struct {
	samples []time.Duration // times of the whole work, or of single items
	answer  string          // compared with the right answer of the row
	peakRSS int64           // bytes, of the largest process; 0 if not measured
}

// missingError says which program or module is missing for a contender.
type missingError struct{ what string }

func (e *missingError) Error() string { return e.what + " is not installed" }

// maxSamples is the largest number of samples in one turn. measure.py has the same limit.
const maxSamples = 50

// warm does the work once without measuring it, then samples it.
func warm(l *lab, work func() error) ([]time.Duration, error) {
	if err := work(); err != nil {
		return nil, err
	}
	return sample(l, work)
}

// sample repeats the work for the length of a turn, but at least once and at most maxSamples times, and returns the time of each repetition.
func sample(l *lab, work func() error) ([]time.Duration, error) {
	var samples []time.Duration
	for total := time.Duration(0); len(samples) == 0 || total < l.long && len(samples) < maxSamples; {
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

// each calls call for one item after the other and measures each call, after up to 100 calls that warm up.
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

// goal is a promise about a row.
type goal struct {
	text  string
	judge func(r *result) verdict
}

// verdict is the judgement of a goal in one session.
type verdict struct {
	measured string // empty if the goal could not be judged, because a contender is missing
	met      bool
}

// atMost is the goal that parhost takes no longer than limit.
func atMost(limit time.Duration) goal {
	return goal{fmt.Sprintf("≤ %s", showTime(limit)), func(r *result) verdict {
		o := r.of(ours)
		if !o.measured() {
			return verdict{}
		}
		return verdict{showTime(o.median()), o.median() <= limit}
	}}
}

// noLongerThan is the goal that the named contender takes no longer than limit.
func noLongerThan(name string, limit time.Duration) goal {
	return goal{fmt.Sprintf("%s: ≤ %s", name, showTime(limit)), func(r *result) verdict {
		o := r.of(name)
		if !o.measured() {
			return verdict{}
		}
		return verdict{showTime(o.median()), o.median() <= limit}
	}}
}

// itemsPerSecond is the goal that parhost runs at least this many items per second.
func itemsPerSecond(least float64) goal {
	return goal{fmt.Sprintf("≥ %s items/s", showCount(least)), func(r *result) verdict {
		o := r.of(ours)
		if !o.measured() {
			return verdict{}
		}
		return verdict{showCount(r.rate(o)) + " items/s", r.rate(o) >= least}
	}}
}

// peakAtMost is the goal that no process of parhost ever holds more than limit bytes.
func peakAtMost(limit int64) goal {
	return goal{fmt.Sprintf("RSS ≤ %s", showBytes(limit)), func(r *result) verdict {
		o := r.of(ours)
		if !o.measured() || o.peakRSS == 0 {
			return verdict{}
		}
		return verdict{showBytes(o.peakRSS), o.peakRSS <= limit}
	}}
}

// timesFaster is the goal that a peer takes at least factor times as long as the named contender.
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

// timesAsLong is the goal that the named contender takes at most factor times as long as another.
func timesAsLong(name string, factor float64, other string) goal {
	return goal{fmt.Sprintf("≤ %g × %s", factor, other), func(r *result) verdict {
		ratio, ok := r.ratio(name, other)
		if !ok {
			return verdict{}
		}
		return verdict{fmt.Sprintf("%.4g ×", ratio), ratio <= factor}
	}}
}
