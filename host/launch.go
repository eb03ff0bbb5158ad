package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/host/internal/process"
	"github.com/parhost/parhost/host/sandbox"
)

// openLauncher finds the executable and makes everything that the worker processes of a pool share. killed is closed when the pool must end at once.
func openLauncher(ctx context.Context, cfg *Config, b *buffers, killed <-chan struct{}) (*process.Launcher, error) {
	var path, source string // path is that of the executable, source that of the bytes that all workers execute
	var err error
	if cfg.Workload != nil {
		source, err = sandbox.Self()
		path, _ = os.Executable()
	} else {
		source, err = Find(cfg.Plugin, cfg.PluginDirs...)
		path = source
	}
	if err != nil && cfg.Workload != nil {
		return nil, &StartError{Worker: 1, Plugin: cfg.Plugin, Stage: "exec", Err: fmt.Errorf("find this program's own file: %w", err)}
	}
	if err != nil {
		return nil, err
	}
	policy := cfg.Sandbox
	policy.Workers = cfg.Workers
	cpus := countCPUs()
	l, err := process.Open(ctx, process.Options{
		Plugin: cfg.Plugin, Workload: cfg.PluginWorkload, Workers: cfg.Workers, Threads: cfg.Threads, Inline: cfg.Inline, Poll: mayPoll(cfg, cpus),
		Child: child.Options{
			Path: path, Source: source, Checksum: cfg.Checksum, Env: environment(cfg), Dir: cfg.Dir, TempDir: cfg.TempDir, Policy: policy,
			MaxOutputBytes: cfg.MaxOutputBytes, Logger: cfg.Logger, Hurry: killed,
		},
		StartTimeout: cfg.StartTimeout, SetupTimeout: cfg.SetupTimeout, Grace: cfg.Grace,
		MaxResultBytes: cfg.MaxResultBytes, MaxMessageBytes: cfg.messageBytes(), CheckResponse: cfg.checkResponse,
		Buffers: b.memory, BuffersFile: b.file, BuffersUsed: func() { b.mapped.Store(true) },
		CPUShare: func(workers int) []string { return cpuShare(cfg, cpus, workers) },
		Progress: func(worker, item int, fraction float64) {
			cfg.events.offer(ItemProgress{At: time.Now(), Worker: worker, Item: item, Fraction: fraction})
		},
		Logger: cfg.Logger, Pulse: cfg.pulse,
	})
	if sockets, ok := errors.AsType[*child.SocketsError](err); ok {
		return nil, &StartError{Worker: 1, Plugin: cfg.Plugin, Stage: "sockets", Err: sockets.Err}
	}
	return l, err
}

// mayPoll reports whether both the host and a worker have a CPU to poll on. A quota of one CPU or less would be used up by it.
func mayPoll(cfg *Config, cpus int) bool {
	return cpus > 1 && (cfg.Sandbox.CPUs == 0 || cfg.Sandbox.CPUs > 1)
}

// startError converts the error of a failed start to a [*StartError] of this package.
func (c *Config) startError(err error) error {
	start, ok := errors.AsType[*process.StartError](err)
	if !ok {
		return err
	}
	e := &StartError{Worker: start.Worker, Plugin: c.Plugin, Stage: start.Stage, Err: start.Err, Cause: start.Cause, Stderr: start.Stderr}
	if start.Manifest != nil {
		e.Manifest = manifestOf(start.Manifest)
	}
	return e
}
