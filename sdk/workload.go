package sdk

import (
	"context"
	"time"

	"github.com/parhost/parhost/internal/work"
)

// Manifest describes a workload to hosts and people. The zero value of each field is a sensible default. Hosts refuse to start a worker whose
// manifest exceeds the limits of docs/PROTOCOL.md; sdktest checks these limits.
type Manifest struct {
	Name        string // letters, digits, "-", "_" and ".", at most 128 bytes
	Version     string // of the workload, in any format
	Description string // one line

	// Examples are items that show what the workload does. They run when the caller gives no items.
	Examples []any
	// ItemSchema and ResultSchema are JSON Schemas (draft 2020-12). If empty, they are made from the Go types.
	ItemSchema, ResultSchema string

	// Idempotent says that running an item twice does no harm, so hosts may retry it after a crash.
	Idempotent bool
	// NotConcurrent says that one process must not run two items at once, for example because of a C library that is not thread-safe. Several
	// processes still run in parallel; on goroutines and threads, items run one at a time.
	NotConcurrent bool
	// Prefer is the mode that the author recommends: "process", "goroutine" or "sequential"; "" is no preference.
	Prefer string
	// Threads is the number of items that one worker process should run at once, at most 4096. 0 means 1.
	Threads int
	// ItemTime is how long one item usually takes. 0 means unknown.
	ItemTime time.Duration

	// Needs lists what a sandbox must allow the workload. It is information for the host's user, who alone can grant anything.
	Needs Needs
}

// Needs lists what a workload requires in a sandbox. The zero value requires nothing.
type Needs struct {
	Network   bool // TCP and UDP
	Processes bool // the workload starts other processes
	// Read holds absolute paths of files and folders that the workload reads, and Write those that it also changes: at most 16 in both together, each
	// at most 256 bytes long and without a colon.
	Read, Write []string
	// MemoryBytes is the memory that one worker takes. 0 means unknown.
	MemoryBytes int64
}

// Workload is a function that does the work, together with its manifest. Make one with [Func], [Struct] or [Batch]; the zero value is not usable.
// Several pools may use one Workload at the same time.
type Workload struct {
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
func Func[In, Out any](name string, run func(ctx context.Context, item In) (Out, error)) *Workload {
	return &Workload{manifest: Manifest{Name: name}, core: work.New(func(context.Context) (work.Funcs[In, Out], func(context.Context) error, error) {
		return work.Funcs[In, Out]{One: run}, nil, nil
	})}
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
func Struct[In, Out any](name string, open func() Runner[In, Out]) *Workload {
	return &Workload{manifest: Manifest{Name: name}, core: work.New(func(ctx context.Context) (work.Funcs[In, Out], func(context.Context) error, error) {
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
	})}
}

// Batch makes a workload from a function of many items at once, for vectorised work. run must return one result for each item, in the same order.
//
// The host chooses how many items run gets at once, at least 1. An error fails all of them; a [*BatchError] fails single items. With an item timeout
// the host sends one item at a time.
func Batch[In, Out any](name string, run func(ctx context.Context, items []In) ([]Out, error)) *Workload {
	return &Workload{manifest: Manifest{Name: name}, core: work.New(func(context.Context) (work.Funcs[In, Out], func(context.Context) error, error) {
		return work.Funcs[In, Out]{Many: run}, nil, nil
	})}
}

// With returns a copy of w with the manifest m. If m.Name is empty, the name of w stays.
func (w *Workload) With(m Manifest) *Workload {
	if m.Name == "" {
		m.Name = w.manifest.Name
	}
	return &Workload{manifest: m, core: w.core}
}

// Manifest returns the workload's manifest.
func (w *Workload) Manifest() Manifest { return w.manifest }

// Core returns the workload in the form in which a worker runs it. It is for package host only; its methods may change without notice.
func (w *Workload) Core() work.Core { return w.core }
