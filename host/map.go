package host

import (
	"context"
	"iter"

	"github.com/parhost/parhost/internal/relay"
)

// Map runs all items and returns their results in the same order.
//
// If items failed, the error is a [*MapError], the results of the failed items are zero, and the results of the others are complete. Any other error is the
// run's: [ErrClosed], a [*BrokenError], or ctx's cause. Then there are no results.
//
// In and Out do not have to be the workload's own types. If they are, values travel packed to processes, and goroutines get them without a copy. Otherwise
// values travel as JSON. A number in an interface that has travelled as JSON is a [encoding/json.Number] with its original digits, whatever its type was.
func Map[In, Out any](ctx context.Context, p *Pool, items []In) ([]Out, error) {
	r, ctx := newRun[In, Out](ctx, p, true)
	r.feedSlice(items)
	r.start(ctx)
	failed := &MapError{Items: len(items)}
	err := r.take(func(c *chunk[In, Out]) bool {
		for i := range c.in {
			if e := c.errs[i]; e != nil {
				failed.Errs = append(failed.Errs, e)
			}
			if len(c.errs) == 0 {
				break
			}
		}
		return true
	})
	switch {
	case err != nil:
		return nil, err
	case len(failed.Errs) > 0:
		return r.results, failed
	default:
		return r.results, nil
	}
}

// Stream runs items as they come and yields their results in the order of the items. It reads only a bounded number of items ahead of the results, so memory is
// bounded, however many items there are.
//
// A failed item is a result with Err set. The second value is nil, except in the last iteration if the run ended early: then it is [ErrClosed], a
// [*BrokenError], or ctx's cause. Breaking the loop cancels the items that are under way.
//
// Stream ranges over items on another goroutine. If items panics, or calls [runtime.Goexit] as testing.T.FailNow does, the items that are under way are
// cancelled, and the goroutine that ranges over the results panics with the same value, or ends.
func Stream[In, Out any](ctx context.Context, p *Pool, items iter.Seq[In]) iter.Seq2[Result[Out], error] {
	return stream[In, Out](ctx, p, items, true)
}

// Unordered is [Stream], but yields the results in the order in which they arrive.
func Unordered[In, Out any](ctx context.Context, p *Pool, items iter.Seq[In]) iter.Seq2[Result[Out], error] {
	return stream[In, Out](ctx, p, items, false)
}

func stream[In, Out any](ctx context.Context, p *Pool, items iter.Seq[In], ordered bool) iter.Seq2[Result[Out], error] {
	return func(yield func(Result[Out], error) bool) {
		r, ctx := newRun[In, Out](ctx, p, ordered)
		r.feed(items)
		r.start(ctx)
		wanted := true
		err := r.take(func(c *chunk[In, Out]) bool {
			wanted = c.results(func(result Result[Out]) bool { return yield(result, nil) })
			return wanted
		})
		relay.Raise(err)
		if err != nil && wanted {
			yield(Result[Out]{}, err)
		}
	}
}

// Do runs one item on the next free worker and returns its result.
//
// The error is an [*ItemError] if the item failed, [ErrClosed] after Shutdown or Close, a [*BrokenError] if no worker can be started any more, and ctx's cause
// if ctx ends first. If ctx ends first, the item is cancelled.
func Do[In, Out any](ctx context.Context, p *Pool, item In) (Out, error) {
	return do[In, Out](ctx, p, item, nil)
}

// do is Do. It also calls lent each time a worker gets the item.
func do[In, Out any](ctx context.Context, p *Pool, item In, lent func(WorkerInfo)) (Out, error) {
	r, ctx := newRun[In, Out](ctx, p, true)
	defer r.end(errTaken)
	r.onLease = lent
	r.feedSlice([]In{item})
	if b := r.next(); b != nil {
		r.runBatch(ctx, b)
	}
	if !r.ended() { // while the item waits for another attempt, nothing else watches ctx
		r.watchContext(ctx)
		defer r.unwatchContext()
		for b := r.next(); b != nil; b = r.next() {
			r.runBatch(ctx, b)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return *new(Out), r.err
	}
	if e := r.chunks.head.errs[0]; e != nil {
		return *new(Out), e
	}
	return r.results[0], nil
}
