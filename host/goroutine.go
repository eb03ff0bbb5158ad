package host

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/work"
)

// goroutine is a worker of this process: an instance of the workload, run by whoever holds it.
type goroutine struct {
	number   int
	mode     Mode
	cfg      *Config
	instance work.Instance
	logger   hclog.Logger
	started  time.Time
	items    atomic.Int64
	dead     chan struct{}
	once     sync.Once
	running  sync.WaitGroup // items that do not look at their context may be left behind
}

var _ worker = (*goroutine)(nil)

// startGoroutine sets an instance up. Workers that share a lock never run two items at once.
func startGoroutine(ctx context.Context, number int, cfg *Config, lock *sync.Mutex) (*goroutine, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.SetupTimeout, fmt.Errorf("not done after %v (Config.SetupTimeout)", cfg.SetupTimeout))
	defer cancel()
	g := &goroutine{
		number: number, mode: cfg.Mode, cfg: cfg, started: time.Now(), dead: make(chan struct{}),
		logger: cfg.Logger.Named(cfg.Workload.Manifest().Name).With("worker", number),
	}
	var err error
	if g.instance, err = cfg.Workload.Core().Open(ctx, lock); err != nil {
		return nil, &StartError{Worker: number, Plugin: cfg.Plugin, Stage: "set-up", Err: err}
	}
	return g, nil
}

func (g *goroutine) run(ctx context.Context, b batch) ending {
	from := b.settled()
	n := b.size() - from
	o := b.orders()
	info := g.info()
	j := &work.Job{
		First: b.first() + from, Count: n, Format: work.Native,
		Timeout: o.timeout, Budget: o.budget, Timed: o.timed, MaxResult: g.cfg.MaxResultBytes, Logger: g.logger,
		OnProgress: func(item int, fraction float64) {
			g.cfg.Observer.Observe(ItemProgress{Worker: g.number, Item: b.first() + from + item, Fraction: fraction})
		},
	}
	in, out, native := b.native(o.timeout > 0)
	if native {
		j.In, j.Out = in, out
	} else {
		column, packed, bad := b.pack(from, wire.BatchBytes)
		if bad != nil {
			b.fail(from, bad)
			b.settle(1, info, 0, nil)
			return ending{}
		}
		j.Format, j.Items, j.Count = work.Packed, column, packed
		if o.json {
			j.Format = work.JSON
		}
	}
	return g.settle(ctx, b, j, info)
}

// settle runs the job and writes its outcome down, unless an item outlives its time limit or the caller's patience: then the
// job is left behind, because a goroutine cannot be killed.
func (g *goroutine) settle(ctx context.Context, b batch, j *work.Job, info WorkerInfo) ending {
	var end ending
	var mu sync.Mutex
	abandoned := false
	base := b.settled()
	j.Settle = func(p work.Part) {
		mu.Lock()
		defer mu.Unlock()
		if abandoned {
			return
		}
		for i, e := range p.Errors {
			b.fail(base+p.Places[i], e)
		}
		switch {
		case j.Format == work.Native && j.Timeout > 0:
			b.keep(base+p.From, p.Count, j.Out, p.From)
		case j.Format != work.Native:
			if err := b.unpack(base+p.From, p.Count, p.Values); err != nil {
				b.fail(base+p.From, &wire.ItemError{Kind: wire.Failed, Message: err.Error()})
			}
		}
		g.items.Add(int64(p.Count))
		b.settle(p.Count, info, time.Duration(p.RunNS), p.ItemNS)
		end.leaving = end.leaving || p.Leaving
	}
	overdue := make(chan int, 1)
	j.OnOverdue = func(item int) {
		select {
		case overdue <- item:
		default:
		}
	}
	done := make(chan struct{})
	g.running.Go(func() {
		defer close(done)
		g.instance.Run(ctx, j)
	})
	item := -1
	for {
		var patience <-chan time.Time
		select {
		case <-done:
			return end
		case item = <-overdue:
			patience = time.After(g.cfg.Grace)
		case <-ctx.Done():
			patience = time.After(g.cfg.Grace)
		}
		select {
		case <-done:
			return end
		case <-patience:
		}
		mu.Lock()
		if item >= 0 && j.Current() != item { // it ended within the grace; another one runs
			mu.Unlock()
			continue
		}
		abandoned = true
		mu.Unlock()
		g.leave()
		if ctx.Err() != nil {
			return ending{err: context.Cause(ctx), leaving: true}
		}
		return ending{lost: &loss{
			kind: wire.Timeout, begun: true, alone: true, guilty: base + item,
			message: fmt.Sprintf("still running %v after its limit of %v; its goroutine is left behind", g.cfg.Grace, j.Timeout),
		}}
	}
}

func (g *goroutine) info() WorkerInfo {
	return WorkerInfo{Worker: g.number, PID: os.Getpid(), Mode: g.mode, Started: g.started, Items: int(g.items.Load())}
}

func (g *goroutine) gone() <-chan struct{} { return g.dead }

func (g *goroutine) obit() string { return "an item that does not end was left behind" }

func (g *goroutine) leave() { g.once.Do(func() { close(g.dead) }) }

func (g *goroutine) end(ctx context.Context, _ string) {
	g.leave()
	left := make(chan struct{})
	go func() {
		defer close(left)
		g.running.Wait()
		if err := g.instance.Close(ctx); err != nil {
			g.logger.Warn("teardown", "err", err)
		}
	}()
	select {
	case <-left:
	case <-ctx.Done():
	}
}
