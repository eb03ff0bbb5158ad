package work

import (
	"context"
	"reflect"
	"sync"

	"github.com/parhost/parhost/internal/wire"
)

// Core is a workload as a worker sees it, independent of its Go types.
type Core interface {
	// Kinds returns the kinds of items and of results, which say how they are packed.
	Kinds() (item, result string)
	// Types returns the Go types of an item and of a result.
	Types() (item, result reflect.Type)
	// Open makes an instance and sets it up. Instances that share a lock never run two items at once; lock may be nil.
	Open(ctx context.Context, lock *sync.Mutex) (Instance, error)
}

// Instance is a workload that has been set up. Several goroutines may call Run at once.
type Instance interface {
	// Run runs the items of a job one after the other and reports their outcomes through Job.Report. It returns after it has reported the last part.
	Run(ctx context.Context, j *Job)
	// Close tears the instance down. It is called once, when no Run is active.
	Close(ctx context.Context) error
}

// Funcs are the two forms of a workload's function; exactly one of them is set.
type Funcs[In, Out any] struct {
	One  func(ctx context.Context, item In) (Out, error)
	Many func(ctx context.Context, items []In) ([]Out, error)
}

type core[In, Out any] struct {
	open func(ctx context.Context) (Funcs[In, Out], func(context.Context) error, error)
	in   *wire.Codec[In]
	out  *wire.Codec[Out]
}

// New returns the core of a workload. open is called once for each instance. It returns the instance's functions and its teardown, which may be nil.
func New[In, Out any](open func(ctx context.Context) (Funcs[In, Out], func(context.Context) error, error)) Core {
	return &core[In, Out]{open: open, in: wire.CodecOf[In](), out: wire.CodecOf[Out]()}
}

func (c *core[In, Out]) Kinds() (item, result string) { return c.in.Kind, c.out.Kind }

func (c *core[In, Out]) Types() (item, result reflect.Type) {
	return reflect.TypeFor[In](), reflect.TypeFor[Out]()
}

func (c *core[In, Out]) Open(ctx context.Context, lock *sync.Mutex) (Instance, error) {
	i := &instance[In, Out]{core: c, lock: lock}
	err := guard("set-up", func() (err error) {
		i.funcs, i.teardown, err = c.open(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return i, nil
}

type instance[In, Out any] struct {
	*core[In, Out]
	funcs    Funcs[In, Out]
	teardown func(context.Context) error
	lock     *sync.Mutex // nil if several items may run at once
}

func (i *instance[In, Out]) Run(ctx context.Context, j *Job) {
	if i.lock != nil {
		i.lock.Lock()
		defer i.lock.Unlock()
	}
	r := &running[In, Out]{instance: i, job: j, call: newCall(ctx, j)}
	r.run()
}

func (i *instance[In, Out]) Close(ctx context.Context) error {
	if i.teardown == nil {
		return nil
	}
	return guard("teardown", func() error { return i.teardown(ctx) })
}
