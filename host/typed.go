package host

import (
	"context"
	"fmt"
	"iter"
	"reflect"

	"github.com/parhost/parhost/internal/relay"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/sdk"
)

// Typed is a [Pool] whose items have the type In, and whose results have the type Out. [OpenWorkload], [Bind] and [BindJSON] make one. Several may share a
// pool.
//
// If In and Out are the workload's own types, values travel packed to processes, and goroutines get them without a copy.
type Typed[In, Out any] struct{ *Pool }

// OpenWorkload opens a pool for a workload that is linked into this program, and returns it with the types of the workload. It sets cfg.Workload.
// In the default mode the workers are processes of this program, so its main must begin with [sdk.ServeChild]. The error is that of [Open].
func OpenWorkload[In, Out any](ctx context.Context, w *sdk.Workload[In, Out], cfg Config) (*Typed[In, Out], error) {
	switch {
	case w == nil:
		return nil, &ConfigError{"Workload", "it is nil"}
	case cfg.Workload != nil || cfg.Plugin != "":
		return nil, &ConfigError{"Workload", "OpenWorkload sets it, so leave Workload and Plugin empty"}
	}
	cfg.Workload = w
	p, err := Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Typed[In, Out]{p}, nil
}

// Bind gives a pool the types of its items and results. The error is a [*KindError] if the workload has items or results of another kind. Types that travel
// as JSON have the same kind, and whether their fields fit shows when an item runs.
func Bind[In, Out any](p *Pool) (*Typed[In, Out], error) {
	in, out := wire.CodecOf[In](), wire.CodecOf[Out]()
	if in.Kind != p.manifest.ItemKind {
		return nil, &KindError{p.manifest.Name, "item", reflect.TypeFor[In]().String(), in.Kind, p.manifest.ItemKind}
	}
	if out.Kind != p.manifest.ResultKind {
		return nil, &KindError{p.manifest.Name, "result", reflect.TypeFor[Out]().String(), out.Kind, p.manifest.ResultKind}
	}
	return &Typed[In, Out]{p}, nil
}

// BindJSON is [Bind] for types of any kind: if a kind is not the workload's own, items and results travel as JSON texts. Use it with [json.RawMessage] to
// run items that are JSON texts already. A number in an interface that has travelled as JSON is a [json.Number] with its original digits, whatever its type
// was.
func BindJSON[In, Out any](p *Pool) *Typed[In, Out] { return &Typed[In, Out]{p} }

// KindError says that a type given to [Bind] is of another kind than the items or results of the workload.
type KindError struct {
	Workload string
	What     string // "item" or "result"
	Type     string // the Go type
	Kind     string // of the Go type: how its values travel
	Want     string // the workload's kind
}

func (e *KindError) Error() string {
	return fmt.Sprintf("each %s of workload %q is of kind %s, and Go's %s is of kind %s; use a type of kind %s, or BindJSON to send JSON",
		e.What, e.Workload, e.Want, e.Type, e.Kind, e.Want)
}

// Map runs all items and returns their results in the same order.
//
// If items failed, the error is a [*MapError], the results of the failed items are zero, and the results of the others are complete. Any other error is the
// run's: [ErrClosed], a [*BrokenError], or ctx's cause. Then there are no results.
func (t *Typed[In, Out]) Map(ctx context.Context, items []In) ([]Out, error) {
	r, ctx := newRun[In, Out](ctx, t.Pool, true)
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
	relay.Raise(err)
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
func (t *Typed[In, Out]) Stream(ctx context.Context, items iter.Seq[In]) iter.Seq2[Result[Out], error] {
	return stream[In, Out](ctx, t.Pool, items, true)
}

// Unordered is [Typed.Stream], but yields the results in the order in which they arrive.
func (t *Typed[In, Out]) Unordered(ctx context.Context, items iter.Seq[In]) iter.Seq2[Result[Out], error] {
	return stream[In, Out](ctx, t.Pool, items, false)
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

// Do runs one item on the next free worker and returns its result, with its worker, attempts and times.
//
// The error is an [*ItemError] if the item failed, which is the result's Err too, [ErrClosed] after Shutdown or Close, a [*BrokenError] if no worker can be
// started any more, and ctx's cause if ctx ends first. If ctx ends first, the item is cancelled.
func (t *Typed[In, Out]) Do(ctx context.Context, item In) (Result[Out], error) {
	return do[In, Out](ctx, t.Pool, item, nil)
}

// do is Do. It also calls lent each time a worker gets the item.
func do[In, Out any](ctx context.Context, p *Pool, item In, lent func(WorkerInfo)) (result Result[Out], err error) {
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
	err = r.err
	r.mu.Unlock()
	if err != nil {
		return result, err
	}
	only := r.chunks.head
	r.decode(only)
	only.results(func(its Result[Out]) bool {
		result = its
		return true
	})
	if result.Err != nil {
		return result, result.Err
	}
	return result, nil
}
