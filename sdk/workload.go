package sdk

import (
	"context"
	"time"

	"github.com/parhost/parhost/internal/work"
)

// Manifest is what a workload says of itself. The zero value of each field is a fair default. Hosts start no worker of a workload that says more
// than they take: docs/PROTOCOL.md has the limits, and sdktest checks them.
type Manifest struct {
	Name        string // how people and hosts call it: letters, digits, "-", "_" and ".", 128 at most
	Version     string // of the workload, in any form
	Description string // one line

	// Examples are items that show what the workload does; they run when nobody gives others.
	Examples []any
	// ItemSchema and ResultSchema are JSON Schemas (draft 2020-12). Empty: made from the Go types.
	ItemSchema, ResultSchema string

	// Idempotent says that running an item twice does no harm, so hosts may retry it after a crash.
	Idempotent bool
	// NotConcurrent says that one process must not run two items at once, as with a C library that is not thread-safe.
	// Processes still run in parallel; on goroutines and threads the items then run one after the other.
	NotConcurrent bool
	// Prefer is the mode that the author recommends: "process", "goroutine", "sequential", or "" for no opinion.
	Prefer string
	// Threads is how many items one worker process should run at once, 4096 at most. 0 means 1.
	Threads int
	// ItemTime is what one item usually takes. 0 means unknown.
	ItemTime time.Duration

	// Needs is what a sandbox has to open to the workload. It is a word to the host's user, who alone grants anything.
	Needs Needs
}

// Needs is what a workload cannot do without in a sandbox. The zero value is nothing.
type Needs struct {
	Network   bool // TCP, UDP
	Processes bool // it starts some of its own
	// Read are absolute paths of files and folders that it reads, Write of those that it changes too: 16 together, of 256 bytes at most,
	// without a colon.
	Read, Write []string
	// MemoryBytes is what one worker takes. 0 means unknown.
	MemoryBytes int64
}

// Workload is the function that does the work, with its manifest. Make one with [Func], [Struct] or [Batch]; the zero value
// does nothing of use. A Workload may be used by several pools at once.
type Workload struct {
	manifest Manifest
	core     work.Core
}

// Func makes a workload of a function, which is called for one item at a time.
//
// Items and results are any Go types. Numbers, slices of numbers, strings and []byte travel as they are, proto messages as
// proto, everything else as JSON. JSON is read strictly, as docs/PROTOCOL.md says in section 6: an item that would have to be changed to fit In is
// a bad_item and never gets here. In an interface, such as any, a number is a [encoding/json.Number], with the digits that came; use its Int64
// or Float64. The error fails that item alone. ctx ends when the item is cancelled or the host goes away,
// and must not be kept beyond the call; nor must slices that are an item or part of it, which lie in memory that the next items will
// use: copy what is to stay. Nor must they be written to: they may be the host's own, which a process cannot write to without
// a fault, and a goroutine not without changing them for the host.
func Func[In, Out any](name string, run func(ctx context.Context, item In) (Out, error)) *Workload {
	return &Workload{manifest: Manifest{Name: name}, core: work.New(func(context.Context) (work.Funcs[In, Out], func(context.Context) error, error) {
		return work.Funcs[In, Out]{One: run}, nil, nil
	})}
}

// Runner is a workload with state: one value for each worker. Besides Run it may have either of
//
//	Setup(ctx context.Context) error    // once, before the first item: load a model, open a file
//	Teardown(ctx context.Context) error // once, after the last item; not called when the process is killed
//
// Run is called from several goroutines at once if the worker has several threads and the manifest does not say NotConcurrent.
type Runner[In, Out any] interface {
	Run(ctx context.Context, item In) (Out, error)
}

// Struct makes a workload of a type with a Run method. open makes the value for one worker.
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

// Batch makes a workload of a function of many items at once, for work that is vectorised. It returns one result for each item,
// in the same order.
//
// How many items come together is the host's choice, from 1. An error fails all of them; a [*BatchError] fails single ones.
// With an item timeout the host sends one item at a time.
func Batch[In, Out any](name string, run func(ctx context.Context, items []In) ([]Out, error)) *Workload {
	return &Workload{manifest: Manifest{Name: name}, core: work.New(func(context.Context) (work.Funcs[In, Out], func(context.Context) error, error) {
		return work.Funcs[In, Out]{Many: run}, nil, nil
	})}
}

// With returns a copy of w with the manifest m. An empty name keeps the one that w has.
func (w *Workload) With(m Manifest) *Workload {
	if m.Name == "" {
		m.Name = w.manifest.Name
	}
	return &Workload{manifest: m, core: w.core}
}

// Manifest returns what the workload says of itself.
func (w *Workload) Manifest() Manifest { return w.manifest }

// Core returns the workload as a worker runs it. It is for package host; its methods are not promised to anybody else.
func (w *Workload) Core() work.Core { return w.core }
