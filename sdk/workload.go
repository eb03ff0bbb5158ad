package sdk

import (
	"context"

	"github.com/parhost/parhost/internal/work"
)

// Workload is a function that does the work, together with its manifest. In is the type of its items, and Out that of its results. Make one with [Func],
// [Struct] or [Batch]; the zero value is not usable. Several pools may use one Workload at the same time.
type Workload[In, Out any] struct{ erased erased }

// AnyWorkload is a [*Workload] of any types.
type AnyWorkload interface {
	// Manifest returns the workload's manifest.
	Manifest() Manifest

	erase() *erased
}

// erased is a workload without its Go types.
type erased struct {
	manifest Manifest
	core     work.Core
}

// Func makes a workload from a function that is called with one item at a time.
//
// Items and results may have any Go type. Numbers, slices of numbers, strings and []byte travel in their binary form, proto messages as protobuf, and
// everything else as JSON. JSON is decoded strictly, as section 6 of docs/PROTOCOL.md says: an item that does not fit In exactly fails with kind
// bad_item, and run is not called for it. In an interface type such as any, a number is an [encoding/json.Number] with its original digits; use its
// Int64 or Float64 method.
//
// An error from run fails only that item. ctx ends when the item is canceled or the host goes away, and run must not keep it after it returns.
//
// If an item is a slice or contains slices, run must neither keep nor modify them: the next items reuse that memory, so copy what you need later. The
// memory may also belong to the host: a write to it faults in a worker process, and on a goroutine it changes the host's data.
func Func[In, Out any](name string, run func(ctx context.Context, item In) (Out, error)) *Workload[In, Out] {
	return newWorkload(name, func(context.Context) (work.Funcs[In, Out], func(context.Context) error, error) {
		return work.Funcs[In, Out]{One: run}, nil, nil
	})
}

// Runner is a workload with state: each worker has its own value. Besides Run, the type may have either or both of these methods:
//
//	Setup(ctx context.Context) error    // once, before the first item: load a model, open a file
//	Teardown(ctx context.Context) error // once, after the last item; not called when the process is killed
//
// Several goroutines call Run at once if the worker has several threads and the manifest does not set NotConcurrent.
type Runner[In, Out any] interface {
	Run(ctx context.Context, item In) (Out, error)
}

// Struct makes a workload from a type with a Run method. It calls open once for each worker to make the worker's value. If Setup returns an error,
// the worker does not start.
func Struct[In, Out any](name string, open func() Runner[In, Out]) *Workload[In, Out] {
	return newWorkload(name, func(ctx context.Context) (work.Funcs[In, Out], func(context.Context) error, error) {
		r := open()
		if s, ok := r.(interface {
			Setup(ctx context.Context) error
		}); ok {
			if err := s.Setup(ctx); err != nil {
				return work.Funcs[In, Out]{}, nil, err
			}
		}
		var teardown func(context.Context) error
		if t, ok := r.(interface {
			Teardown(ctx context.Context) error
		}); ok {
			teardown = t.Teardown
		}
		return work.Funcs[In, Out]{One: r.Run}, teardown, nil
	})
}

// Batch makes a workload from a function of many items at once, for vectorised work. run must return one result for each item, in the same order.
//
// The host chooses how many items run gets at once, at least 1. An error fails all of them; a [*BatchError] fails single items. With an item timeout
// the host sends one item at a time.
func Batch[In, Out any](name string, run func(ctx context.Context, items []In) ([]Out, error)) *Workload[In, Out] {
	return newWorkload(name, func(context.Context) (work.Funcs[In, Out], func(context.Context) error, error) {
		return work.Funcs[In, Out]{Many: run}, nil, nil
	})
}

func newWorkload[In, Out any](name string, open func(context.Context) (work.Funcs[In, Out], func(context.Context) error, error)) *Workload[In, Out] {
	return &Workload[In, Out]{erased{manifest: Manifest{Name: name}, core: work.New(open)}}
}

// With returns a copy of w with the manifest m. If m.Name is empty, the name of w stays.
func (w *Workload[In, Out]) With(m Manifest) *Workload[In, Out] {
	if m.Name == "" {
		m.Name = w.erased.manifest.Name
	}
	return &Workload[In, Out]{erased{manifest: m, core: w.erased.core}}
}

// Manifest returns the manifest as the author has written it: without the fields that the SDK sets.
func (w *Workload[In, Out]) Manifest() Manifest { return w.erased.manifest }

func (w *Workload[In, Out]) erase() *erased { return &w.erased }
