package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parhost/parhost/host/internal/process"
	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/inprocess"
	"github.com/parhost/parhost/internal/pulse"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/protocol"
)

// Pool owns the workers of one workload and runs batches of items on them.
//
// All methods may be called from any goroutine. Make a Pool with [Open]; the zero value does not work.
type Pool struct {
	cfg       Config
	launcher  *process.Launcher // nil unless the mode is ModeProcess
	buffers   *buffers
	share     int // bytes of memory that a run's items and results may take; 0 means that the memory of this process is not limited
	scheduler scheduler
	learned   learned
	lock      *sync.Mutex // shared by goroutine workers of a workload that is not concurrent

	described sync.Once
	manifest  protocol.Manifest

	giveUp      context.CancelCauseFunc // ends the first starts of workers that are not ready yet
	kill        context.CancelFunc      // ends the workers at once
	killed      <-chan struct{}         // closed by kill
	stop        chan struct{}           // closed when no more work is taken
	once        sync.Once               // closes stop
	scaler      scaler
	supervisors sync.WaitGroup
	ended       chan struct{} // closed when nothing of the pool is left

	breaker  breaker
	runs     atomic.Int64  // that have begun so far
	began    chan struct{} // has room for one; receives when a run begins
	starting atomic.Int64  // workers that start
	delayed  atomic.Int64  // workers whose start waits for a while
}

// Open starts a pool's workers and returns when each of them is ready or has failed once. With [Config.Eager] it returns when the first one is ready. It fails
// if none is. ctx bounds the opening, not the life of the pool.
//
// The error is one of these:
//   - a [*ConfigError] for a config that cannot be used;
//   - one that matches [ErrNotFound] if there is no such plugin;
//   - a [*sandbox.ChecksumError] if the executable is not the one of Config.Checksum, and another error of package sandbox if it cannot be read;
//   - one that matches [sandbox.ErrNotSupported] if this machine cannot give what Config.Sandbox asks for, [sandbox.ErrNeedsFiles] if the plugin needs
//     files that the policy does not open to it, and another error of package sandbox if no machine could;
//   - a [*StartError] if no worker could be started; it wraps a [*sandbox.ChangedError] if the executable changed meanwhile;
//   - an error of the workload's manifest, if Config.Workload has an example or schema that is no JSON;
//   - ctx's cause if ctx ended first.
//
// After an error nothing is left running.
func Open(ctx context.Context, cfg Config) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkWorkerOfItself(&cfg); err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg, stop: make(chan struct{}), began: make(chan struct{}, 1), ended: make(chan struct{}), share: memoryShare()}
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	p.kill, p.killed = kill, life.Done()
	if cfg.Workload != nil {
		pb, err := inprocess.Describe(cfg.Workload, false)
		if err != nil {
			return nil, err
		}
		p.describe(pb)
		if p.manifest.NotConcurrent {
			p.lock = new(sync.Mutex)
		}
	}
	if p.buffers, err = openBuffers(cfg.BufferBytes, cfg.Mode == ModeProcess && !cfg.Inline); err != nil {
		cfg.Logger.Debug("buffers are ordinary memory", "err", err)
	}
	p.cfg.pulse = pulse.Start()
	if cfg.Mode == ModeProcess {
		if p.launcher, err = openLauncher(ctx, &p.cfg, p.buffers, p.killed); err != nil {
			p.cfg.pulse.Stop()
			p.buffers.close()
			return nil, err
		}
	}
	// Workers that are not ready when Open returns no longer depend on its context.
	opening, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	p.giveUp = giveUp
	defer context.AfterFunc(ctx, func() { giveUp(context.Cause(ctx)) })()
	lent := cfg.Workers
	if cfg.MinWorkers > 0 {
		lent = cfg.MinWorkers
		p.scheduler.crowded = make(chan struct{}, 1)
		p.supervisors.Go(p.grow)
	}
	stopSampling := p.sample()
	p.scaler.begin = func(s *supervisor) { s.run(life, life, p.complain) }
	slots := lent + cfg.Standby
	first := make(chan error, slots)
	p.scaler.mu.Lock()
	p.scaler.size.Store(int64(lent))
	p.scaler.width.Store(int64(cfg.Workers))
	p.scheduler.resize(lent)
	for range slots {
		p.addSupervisor(func(s *supervisor) { s.run(life, opening, func(err error) { first <- err }) })
	}
	p.scaler.mu.Unlock()
	var failures []error
	left := slots
	for ; left > 0; left-- {
		if err := <-first; err != nil {
			failures = append(failures, err)
		} else if cfg.Eager {
			break
		}
	}
	if left > 0 {
		p.supervisors.Go(func() {
			for range left - 1 {
				p.complain(<-first)
			}
		})
	}
	go func() {
		p.supervisors.Wait()
		stopSampling()
		if p.launcher != nil {
			p.launcher.Close()
		}
		p.buffers.close()
		p.cfg.pulse.Stop()
		p.cfg.events.close()
		close(p.ended)
	}()
	if len(failures) == slots {
		_ = p.Close()
		return nil, failures[0]
	}
	for _, err := range failures {
		p.complain(err)
	}
	return p, nil
}

// complain logs that a worker did not start, unless the pool has closed.
func (p *Pool) complain(err error) {
	if err != nil && !isClosed(p.stop) {
		p.cfg.Logger.Warn("worker did not start", "err", err)
	}
}

// describe keeps the manifest of the first worker that becomes ready.
func (p *Pool) describe(pb *workerpb.Manifest) {
	p.described.Do(func() {
		p.manifest = manifestOf(pb)
		p.scheduler.mu.Lock()
		defer p.scheduler.mu.Unlock()
		p.scheduler.threads = p.depth(1)
	})
}

// start starts the worker that has the given number.
func (p *Pool) start(ctx context.Context, number int) (worker.Worker, error) {
	if p.cfg.Mode != ModeProcess {
		return startGoroutine(ctx, number, &p.cfg, p.lock, p.killed)
	}
	w, err := p.launcher.Start(ctx, number, int(p.scaler.width.Load()))
	if err != nil {
		return nil, p.cfg.startError(err)
	}
	p.describe(w.Manifest())
	if err := p.sameWorkload(manifestOf(w.Manifest())); err != nil {
		w.Kill(err.Error())
		return nil, &StartError{Worker: number, Plugin: p.cfg.Plugin, Stage: "describe", Err: err}
	}
	return w, nil
}

// sameWorkload returns an error if a new worker's manifest names another workload than those of the pool's other workers.
func (p *Pool) sameWorkload(got protocol.Manifest) error {
	for _, c := range []struct{ what, got, want string }{
		{"is", got.Name, p.manifest.Name},
		{"has the version", got.Version, p.manifest.Version},
		{"takes", got.ItemKind, p.manifest.ItemKind},
		{"gives", got.ResultKind, p.manifest.ResultKind},
	} {
		if c.got != c.want {
			return fmt.Errorf("the workload has changed while the pool lives: it %s %.100q, and with the pool's other workers %.100q; start the run again", c.what, c.got, c.want)
		}
	}
	return nil
}

// Sandbox returns the level at which worker processes are confined, and the layers around each of them: barriers and limits, in words. Processes without a
// sandbox and goroutines have no layers.
func (p *Pool) Sandbox() (level sandbox.Level, layers []string) {
	if p.launcher == nil {
		return sandbox.Off, nil
	}
	return p.launcher.Children.Box.Level(), p.launcher.Children.Box.Layers()
}

// Checksum returns the SHA-256 of the file that worker processes execute, in hexadecimal. It is empty if the pool has no worker processes, or if the
// file cannot be read or has changed. The first call computes it, which takes about 20 ms for 20 MB. Call it before the pool is closed.
func (p *Pool) Checksum() string {
	if p.launcher == nil {
		return ""
	}
	return p.launcher.Children.Box.Checksum()
}

// Peak returns the largest number of workers that the pool has been able to lend at once so far. It is less than [Config.Workers] if some did not start, or
// were not needed. Standby workers do not count. Peak can be called after Close.
func (p *Pool) Peak() int {
	p.scheduler.mu.Lock()
	defer p.scheduler.mu.Unlock()
	return p.scheduler.peak
}

// Workers describes the workers that are ready now, sorted by number.
func (p *Pool) Workers() []WorkerInfo {
	infos := p.scheduler.snapshot(p.cfg.Mode, false)
	for i := range infos {
		used := usageOf(infos[i].PID)
		infos[i].RSS, infos[i].CPU = used.rss, used.cpu
	}
	return infos
}

// Pause keeps the workers from getting more batches, in all runs, until [Pool.Resume]. What they hold they run to its end. Runs wait meanwhile, and their
// deadlines pass. Calling it again changes nothing.
func (p *Pool) Pause() { p.scheduler.pause(true) }

// Resume ends a [Pool.Pause].
func (p *Pool) Resume() { p.scheduler.pause(false) }

// ErrNotRunning is the error of [Pool.CancelItem] if the worker does not run the item, or does not show what it runs, and of [Pool.Stack] if there is no such
// worker.
var ErrNotRunning = errors.New("not running")

// CancelItem cancels an item that a worker runs: item is its place in the input, as in [WorkerInfo.Running]. The item's context ends. If the item does not end
// within Config.Grace, its worker process is killed; a goroutine goes on. The item fails with [KindCanceled], and its run goes on.
//
// An item that ends by itself at the same time keeps its result, and one whose worker dies of something else meanwhile may be begun again. If a worker runs several
// items of the same place, of several runs or of [Typed.Do], which gives each item place 0, any of them may be the one.
func (p *Pool) CancelItem(worker, item int) error {
	for _, w := range p.scheduler.find(worker) {
		if w.CancelItem(item) {
			return nil
		}
	}
	return fmt.Errorf("item %d on worker %d: %w", item, worker, ErrNotRunning)
}

// Stack returns what a worker is doing: the stacks of all its goroutines or threads, as its language shows them, up to 256 KiB. The worker goes on meanwhile. In
// process mode the text is the plugin's own. The error matches [errors.ErrUnsupported] if the plugin does not show its stacks, and [ErrNotRunning] if there is no
// such worker.
func (p *Pool) Stack(ctx context.Context, worker int) (string, error) {
	found := p.scheduler.find(worker)
	if len(found) == 0 {
		return "", fmt.Errorf("worker %d: %w", worker, ErrNotRunning)
	}
	return found[len(found)-1].Stack(ctx) // of a worker and its replacement, the one that ends
}

// Done is closed when the pool takes no more work. [Pool.Err] says why.
func (p *Pool) Done() <-chan struct{} { return p.stop }

// Err returns nil while the pool takes work, a [*BrokenError] after it gave up, and else [ErrClosed]. The first reason stays.
func (p *Pool) Err() error { return p.scheduler.closed() }

// Shutdown stops taking work, waits until the batches that have begun end, tears the workers down, and returns when nothing of the pool is left. If ctx ends
// first, it closes the pool and returns the context's cause.
//
// The pool cannot end while a call of [Config.Observer] that began before Shutdown has not returned. If such a call takes longer than Config.Grace, Shutdown
// returns [ErrObserving], and the pool ends when the call has returned. So an Observer may call Shutdown and Close itself.
func (p *Pool) Shutdown(ctx context.Context) error {
	p.refuse(ErrClosed)
	observed := p.observed()
	defer observed.stop()
	select {
	case <-p.ended:
		return nil
	case <-observed.stuck:
		return ErrObserving
	case <-ctx.Done():
		_ = p.Close()
		return context.Cause(ctx)
	}
}

// Close ends the pool now. It kills what runs, and the callers get [ErrClosed] or their items' errors. Close returns when nothing of the pool is left, or with
// [ErrObserving] as [Pool.Shutdown] does. It may be called twice, and after Shutdown.
func (p *Pool) Close() error {
	p.refuse(ErrClosed) // before kill: otherwise workers whose start kill interrupts would look as if they had failed
	p.kill()
	observed := p.observed()
	defer observed.stop()
	select {
	case <-p.ended:
		return nil
	case <-observed.stuck:
		return ErrObserving
	}
}

// observed watches the calls of the Observer that are under way now. It closes stuck if one of them takes Config.Grace longer.
func (p *Pool) observed() (w struct {
	stuck <-chan struct{}
	stop  func()
},
) {
	now, stuck := time.Now(), make(chan struct{})
	if !p.cfg.events.calledSince(now) {
		w.stop = func() {}
		return w
	}
	timer := time.AfterFunc(p.cfg.Grace, func() {
		if p.cfg.events.calledSince(now) {
			close(stuck)
		}
	})
	w.stuck, w.stop = stuck, func() { timer.Stop() }
	return w
}

// refuse makes the pool take no more work, for the reason err. It gives up starting workers that are not ready yet.
func (p *Pool) refuse(err error) {
	p.scheduler.close(err)
	p.buffers.refuse()
	p.once.Do(func() {
		p.scaler.mu.Lock()
		defer p.scaler.mu.Unlock()
		close(p.stop)
	})
	p.giveUp(err)
}

// depth returns how many leases one worker may have at once. window is the number for each of its threads.
func (p *Pool) depth(window int) int {
	switch {
	case p.cfg.Mode != ModeProcess:
		return 1
	case p.manifest.NotConcurrent:
		return window
	case p.cfg.Threads > 0:
		return p.cfg.Threads * window
	default:
		return p.manifest.Threads * window
	}
}
