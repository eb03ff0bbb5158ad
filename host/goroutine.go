package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/inprocess"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/work"
	"github.com/parhost/parhost/protocol"
)

// goroutine is a worker in this process: an instance of the workload.
type goroutine struct {
	number    int
	pid       int // the host's own
	mode      Mode
	cfg       *Config
	killed    <-chan struct{} // of the pool
	exclusive bool            // no other worker runs an item while it does
	instance  work.Instance
	logger    hclog.Logger
	started   time.Time
	items     atomic.Int64
	job       atomic.Pointer[work.Job] // runs now; nil if none does
	dead      chan struct{}
	once      sync.Once
	abandoned atomic.Bool    // an item that did not end was left behind
	running   sync.WaitGroup // jobs

	mu    sync.Mutex
	ended bool // no job may begin
}

var _ worker.Worker = (*goroutine)(nil)

// startGoroutine sets up an instance of the workload. Workers that share a lock never run two items at once. killed is closed when items that run are to
// end at once.
func startGoroutine(ctx context.Context, number int, cfg *Config, lock *sync.Mutex, killed <-chan struct{}) (*goroutine, error) {
	ctx, cancel := cfg.pulse.WithTimeout(ctx, cfg.SetupTimeout, fmt.Errorf("not done after %v (Config.SetupTimeout)", cfg.SetupTimeout))
	defer cancel()
	g := &goroutine{
		number: number, pid: os.Getpid(), mode: cfg.Mode, cfg: cfg, killed: killed, exclusive: lock != nil, started: time.Now(), dead: make(chan struct{}),
		logger: cfg.Logger.Named(cfg.Workload.Manifest().Name).With("worker", number),
	}
	opened := make(chan error, 1)
	go func() {
		var err error
		g.instance, err = inprocess.Core(cfg.Workload).Open(work.WithLogger(&bare{Context: ctx}, g.logger), lock)
		opened <- err
	}()
	var err error
	select {
	case err = <-opened:
	case <-ctx.Done():
		if err = g.late(ctx, opened); err == nil {
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		return nil, &StartError{Worker: number, Plugin: cfg.Plugin, Stage: "set-up", Err: err}
	}
	return g, nil
}

// late waits for a set-up whose context has ended, for at most Config.Grace. A set-up that takes longer is left behind, and torn down when it ends.
func (g *goroutine) late(ctx context.Context, opened <-chan error) error {
	tearDown := func(err error) {
		if err == nil {
			g.tearDown(context.WithoutCancel(ctx))
		}
	}
	select {
	case err := <-opened:
		tearDown(err)
		return err
	case <-time.After(g.cfg.Grace):
		go func() { tearDown(<-opened) }()
		return nil
	}
}

// contextual is a batch that knows what of the run's context its workload may see.
type contextual interface{ context() *bare }

// HasBegun is part of [worker.Worker]. Nothing waits in a goroutine.
func (g *goroutine) HasBegun(worker.Batch) bool { return true }

// Recall implements [worker.Worker]. No batch waits in a goroutine.
func (g *goroutine) Recall() {}

// Run is part of [worker.Worker].
func (g *goroutine) Run(ctx context.Context, b worker.Batch) worker.End {
	from := b.Done()
	n := b.Size() - from
	o := b.Options()
	info := g.Info()
	j := &work.Job{
		First: b.First() + from, Count: n, Format: work.Native,
		Timeout: o.Timeout, Budget: o.Budget, Timed: o.Timed, MaxResult: g.cfg.MaxResultBytes, Logger: g.logger, Pulse: g.cfg.pulse, Metadata: o.Metadata,
		Seed: &o.Seed,
		OnProgress: func(item int, fraction float64) {
			g.cfg.events.offer(ItemProgress{At: time.Now(), Worker: g.number, Item: worker.PlaceOf(b, from+item), Fraction: fraction})
		},
	}
	if o.SeedIndex != nil {
		j.SeedIndex = o.SeedIndex[from:][:n]
	}
	in, out, native := b.Slices(o.Timeout > 0)
	if native {
		j.In, j.Out = in, out
	} else {
		column, packed, bad := b.Encode(from, b.Size(), wire.BatchBytes, nil)
		if bad != nil {
			b.Fail(from, bad)
			b.Complete(1, worker.Info{}, 0, nil, nil) // it never reached the workload
			return worker.End{}
		}
		j.Format, j.Items, j.Count = work.Packed, column, packed
		if o.JSON {
			j.Format = work.JSON
		}
	}
	return g.runJob(ctx, b, j, info)
}

// runJob runs a job and records its outcomes. A job is left behind, because a goroutine cannot be killed, if one of its items goes on for Config.Grace after
// its limit of time, or after the run was canceled.
func (g *goroutine) runJob(ctx context.Context, b worker.Batch, j *work.Job, info worker.Info) worker.End {
	var end worker.End
	var mu sync.Mutex
	abandoned := false
	base := b.Done()
	j.Report = func(p work.Part) {
		mu.Lock()
		defer mu.Unlock()
		if abandoned {
			return
		}
		for i, e := range p.Errors {
			b.Fail(base+p.Places[i], e)
		}
		switch {
		case j.Format == work.Native && j.Timeout > 0:
			b.Store(base+p.From, p.Count, j.Out, p.From)
		case j.Format != work.Native:
			if err := b.Decode(base+p.From, p.Count, p.Values); err != nil {
				for i := range p.Count { // it is not known which of them have been decoded
					b.Fail(base+p.From+i, &protocol.ItemError{Kind: protocol.KindFailed, Message: err.Error()})
				}
			}
		}
		g.items.Add(int64(p.Count))
		b.Complete(p.Count, info, time.Duration(p.RunNS), p.ItemNS, nil)
		end.Leaving = end.Leaving || p.Leaving
	}
	overdue := make(chan int, 1)
	j.OnOverdue = func(item int) {
		select { // only the last one matters: those before it have ended
		case <-overdue:
		default:
		}
		overdue <- item
	}
	done := make(chan struct{})
	if !g.begin(func() {
		defer close(done)
		g.job.Store(j)
		defer g.job.Store(nil)
		g.instance.Run(b.(contextual).context(), j)
	}) {
		return worker.End{Death: worker.Gone()}
	}
	item := -1
	ended, closed := ctx.Done(), g.killed
	var over error
	var patience <-chan struct{}
	for {
		select {
		case <-done:
			if ctx.Err() != nil { // the item may have noticed it first
				over = context.Cause(ctx)
			}
			end.Err = over
			return end
		case item = <-overdue:
			patience = g.cfg.pulse.After(g.cfg.Grace)
			continue
		case <-ended:
			over = context.Cause(ctx)
		case <-closed:
			over = ErrClosed
		case <-patience:
			mu.Lock()
			if over == nil && j.Current() != item { // it ended within the grace; another one runs
				mu.Unlock()
				patience = nil
				continue
			}
			abandoned = true
			mu.Unlock()
			j.CancelAll() // the job must begin no other item
			return g.abandon(over, base+item, j.Timeout)
		}
		ended, closed = nil, nil
		j.CancelAll()
		patience = g.cfg.pulse.After(g.cfg.Grace)
	}
}

// begin runs f on a goroutine of its own, unless the worker has ended.
func (g *goroutine) begin(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return false
	}
	g.running.Go(f)
	return true
}

// abandon ends a batch whose job is left behind.
func (g *goroutine) abandon(over error, guilty int, timeout time.Duration) worker.End {
	g.abandoned.Store(true)
	g.leave()
	if over != nil {
		return worker.End{Err: over, Leaving: true}
	}
	return worker.End{Death: &worker.Death{
		Error: protocol.ItemError{
			Kind: protocol.KindTimeout, Message: fmt.Sprintf("still running %v after its limit of %v; its goroutine is left behind", g.cfg.Grace, timeout),
		},
		Verdict: worker.Verdict{Outcome: worker.Guilty, Item: guilty},
	}}
}

// Info is part of [worker.Worker].
func (g *goroutine) Info() worker.Info {
	return worker.Info{Number: g.number, PID: g.pid, Started: g.started, Threads: 1, Items: int(g.items.Load())}
}

// Running is part of [worker.Worker]. While a batch function runs, it names the first item of the batch.
func (g *goroutine) Running() []worker.Running {
	j := g.job.Load()
	if j == nil || j.Since().UnixNano() == 0 { // it has not begun
		return nil
	}
	place := j.First + j.Current()
	if j.SeedIndex != nil {
		place = int(j.SeedIndex[j.Current()])
	}
	return []worker.Running{{Place: place, Since: j.Since()}}
}

// CancelItem is part of [worker.Worker]. A goroutine cannot be killed, so an item that ignores its context goes on.
func (g *goroutine) CancelItem(place int) bool {
	j := g.job.Load()
	if j == nil {
		return false
	}
	item := place - j.First
	if j.SeedIndex != nil {
		item = slices.Index(j.SeedIndex, uint64(place))
	}
	if item < 0 || item != j.Current() || j.Grouped() || j.Since().UnixNano() == 0 {
		return false
	}
	j.Cancel(item)
	return true
}

// Stack is part of [worker.Worker]. It shows all goroutines of this program.
func (g *goroutine) Stack(context.Context) (string, error) {
	text := make([]byte, wire.MaxStacks)
	return string(text[:runtime.Stack(text, true)]), nil
}

// Failing is part of [worker.Worker].
func (g *goroutine) Failing() <-chan struct{} { return g.dead }

// Gone is part of [worker.Worker].
func (g *goroutine) Gone() <-chan struct{} { return g.dead }

func (g *goroutine) leave() { g.once.Do(func() { close(g.dead) }) }

// Ended is part of [worker.Worker].
func (g *goroutine) Ended() worker.Ending {
	how := worker.Ending{Reason: "an item that does not end was left behind", Used: true} // a goroutine ends for no other reason
	if g.abandoned.Load() && g.exclusive {
		how.Hopeless = errors.New("an item that does not end holds the workload, which must not run another meanwhile (NotConcurrent)")
	}
	return how
}

// Stop is part of [worker.Worker].
func (g *goroutine) Stop(ctx context.Context, _ string) {
	g.leave()
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	left := make(chan struct{})
	go func() {
		defer close(left)
		g.running.Wait()
		g.tearDown(context.WithoutCancel(ctx))
	}()
	if g.abandoned.Load() {
		return // the workload is torn down when the item that was left behind ends
	}
	select {
	case <-left:
		return
	case <-ctx.Done():
	}
	select { // the items that run have been told to end
	case <-left:
	case <-time.After(2 * g.cfg.Grace):
	}
}

func (g *goroutine) tearDown(ctx context.Context) {
	if err := g.instance.Close(work.WithLogger(&bare{Context: ctx}, g.logger)); err != nil {
		g.logger.Warn("teardown", "err", err)
	}
}
