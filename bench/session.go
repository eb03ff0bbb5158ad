package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"
)

// measureLimit ends a turn that hangs. The longest working turn takes about ten seconds.
const measureLimit = 5 * time.Minute

// session holds the settings for running rows.
type session struct {
	rounds   int
	short    bool
	progress io.Writer
}

// result is the outcome of one row.
type result struct {
	row      row
	n        int
	outcomes []*outcome // in the order of row.contenders
}

// outcome is the outcome of one contender.
type outcome struct {
	contender contender
	n         int             // number of items
	medians   []time.Duration // median of each turn
	peakRSS   int64
	err       error // why the contender has no turns, or no further ones; a *missingError is not a failure
}

// run lets the contenders of a row take turns. It returns an error if ctx ends or if the right answer cannot be computed. An error of a contender is
// stored in its outcome instead.
func (s session) run(ctx context.Context, l *lab, r row) (*result, error) {
	result := &result{row: r, n: r.size}
	if s.short {
		result.n = r.small
	}
	answers := map[int]string{}
	for _, c := range r.contenders {
		o := &outcome{contender: c, n: c.count(result.n)}
		result.outcomes = append(result.outcomes, o)
		if answers[o.n] != "" {
			continue
		}
		var err error
		if answers[o.n], err = r.want(ctx, l, o.n); err != nil {
			return nil, fmt.Errorf("%s: the right answer: %w", r.name, err)
		}
	}
	for round := range s.rounds {
		for _, o := range result.outcomes {
			if o.err != nil {
				continue
			}
			o.err = o.take(ctx, l, answers[o.n])
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			s.say(round, r, o)
		}
	}
	return result, nil
}

// take runs one turn of the contender.
func (o *outcome) take(ctx context.Context, l *lab, want string) error {
	runtime.GC() // so that this turn does not have to collect the garbage of others
	ctx, cancel := context.WithTimeoutCause(ctx, measureLimit, fmt.Errorf("not done after %v", measureLimit))
	defer cancel()
	t, err := o.contender.measure(ctx, l, o.n)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case err != nil:
		return err
	case t.answer != want:
		return fmt.Errorf("wrong answer: got %s, want %s", t.answer, want)
	}
	o.medians = append(o.medians, median(t.samples))
	o.peakRSS = max(o.peakRSS, t.peakRSS)
	return nil
}

func (s session) say(round int, r row, o *outcome) {
	text := "error: "
	if o.err == nil {
		text = showTime(o.medians[len(o.medians)-1])
	} else {
		text += o.err.Error()
	}
	// A write error is ignored, because there is nobody to report it to.
	_, _ = fmt.Fprintf(s.progress, "%s %d/%d  %-40s %s\n", r.name, round+1, s.rounds, o.contender.name, text)
}

// of returns the outcome of the named contender. It panics if the row has no such contender.
func (r *result) of(name string) *outcome {
	for _, o := range r.outcomes {
		if o.contender.name == name {
			return o
		}
	}
	panic(fmt.Sprintf("row %s has no contender %q", r.row.name, name))
}

// ratio returns how many times as long as b the contender a takes. It returns false unless both were measured.
func (r *result) ratio(a, b string) (ratio float64, ok bool) {
	x, y := r.of(a), r.of(b)
	if !x.measured() || !y.measured() {
		return 0, false
	}
	return float64(x.median()) / float64(y.median()), true
}

// comparable reports whether o ran as many items as the row's first contender, in total or per worker.
func (r *result) comparable(o *outcome) bool { return o.n == r.outcomes[0].n || r.row.perWorker }

// measured reports whether the contender has a figure.
func (o *outcome) measured() bool { return o.err == nil && len(o.medians) > 0 }

// failed reports whether the contender is installed but does not work.
func (o *outcome) failed() bool {
	_, missing := errors.AsType[*missingError](o.err)
	return o.err != nil && !missing
}

func (o *outcome) median() time.Duration { return median(o.medians) }

// extremes returns the shortest and the longest median among the turns.
func (o *outcome) extremes() (least, most time.Duration) {
	return slices.Min(o.medians), slices.Max(o.medians)
}

// rate returns the items per second.
func (r *result) rate(o *outcome) float64 {
	items := r.row.timed
	if items == 0 {
		items = o.n
	}
	return float64(items) / o.median().Seconds()
}
