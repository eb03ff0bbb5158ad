package work

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// inCall runs f as the only item of a job, with a time limit of a minute.
func inCall(t *testing.T, f func(ctx context.Context, j *Job)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var job *Job
		c := one(func(ctx context.Context, x float64) (float64, error) { f(ctx, job); return x, nil })
		runJob[float64, float64](t, c, Native, upTo(1), func(j *Job) { job, j.Timeout = j, time.Minute })
	})
}

func TestACallIsAContextThatCanBeCanceled(t *testing.T) {
	inCall(t, func(ctx context.Context, j *Job) {
		if ctx.Err() != nil || context.Cause(ctx) != nil {
			t.Errorf("while it runs: got %v, %v, want no error", ctx.Err(), context.Cause(ctx))
		}
		j.Cancel(0)
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("Err of a canceled item: got %v, want context.Canceled", ctx.Err())
		}
		if !errors.Is(context.Cause(ctx), errCanceled) { // even if nobody has called Done
			t.Errorf("Cause of a canceled item: got %v, want %v", context.Cause(ctx), errCanceled)
		}
		<-ctx.Done()
	})
}

func TestACallEndsAtItsDeadline(t *testing.T) {
	inCall(t, func(ctx context.Context, _ *Job) {
		begun := time.Now()
		if at, ok := ctx.Deadline(); !ok || at.Sub(begun) != time.Minute {
			t.Errorf("Deadline: got %v, %v, want in a minute", at.Sub(begun), ok)
		}
		<-ctx.Done()
		if time.Since(begun) != time.Minute || !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(ctx), errOverdue) {
			t.Errorf("after %v: got %v, %v, want a deadline error after a minute", time.Since(begun), ctx.Err(), context.Cause(ctx))
		}
	})
}

func TestContextsMadeFromACallEndWithTheItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept []context.Context
		c := one(func(ctx context.Context, x float64) (float64, error) {
			limited, cancel := context.WithTimeout(context.WithValue(ctx, key{}, "v"), time.Hour)
			_ = cancel // callers do forget to call it
			if limited.Value(key{}) != "v" || limited.Err() != nil {
				t.Error("a context made from a call: its value is lost, or it has ended")
			}
			kept = append(kept, limited)
			return x, nil
		})
		o := runJob[float64, float64](t, c, Native, upTo(3), nil)
		for i, ctx := range kept {
			if !errors.Is(ctx.Err(), context.Canceled) {
				t.Errorf("a context made in item %d: got %v after the item, want context.Canceled", i, ctx.Err())
			}
		}
		if len(o.errs) != 0 {
			t.Errorf("got the errors %v, want none", o.errs)
		}
	})
}

type key struct{}

func TestAWorkloadsOwnDeadlineErrorIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := one(func(ctx context.Context, _ float64) (float64, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			<-ctx.Done()
			return 0, ctx.Err()
		})
		o := runJob[float64, float64](t, c, Native, upTo(1), func(j *Job) { j.Timeout = time.Minute })
		if e := o.errs[0]; e == nil || e.Kind != "failed" {
			t.Errorf("got %v, want failed: the limit was the workload's own", e)
		}
	})
}

func TestLoggerAndProgressNameTheItem(t *testing.T) {
	type report struct {
		item     int
		fraction float64
	}
	var reports []report
	sink := hclog.NewNullLogger()
	c := one(func(ctx context.Context, x float64) (float64, error) {
		call := FromContext(context.WithValue(ctx, key{}, 1))
		call.Progress(x / 10)
		call.Logger().Info("there")
		return x, nil
	})
	runJob[float64, float64](t, c, Native, upTo(3), func(j *Job) {
		j.Logger = sink
		j.OnProgress = func(item int, fraction float64) { reports = append(reports, report{item, fraction}) }
	})
	if len(reports) != 3 || reports[2] != (report{2, 0.2}) {
		t.Errorf("progress: got %v, want one report for each of 3 items", reports)
	}
	if FromContext(context.Background()) != nil {
		t.Error("FromContext outside of a job: got a call, want nil")
	}
}
