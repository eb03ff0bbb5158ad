package host

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/host/internal/process"
	"github.com/parhost/parhost/internal/conform"
	"github.com/parhost/parhost/internal/session"
	"github.com/parhost/parhost/protocol"
)

// Verification is the result of [Verify]: the checks of a plugin, in the order in which they ran.
type Verification struct {
	Name    string  `json:"name"` // of the workload
	Version string  `json:"version,omitempty"`
	SDK     string  `json:"sdk,omitempty"`
	Checks  []Check `json:"checks"`
}

// Check is one promise, and whether the plugin keeps it.
type Check struct {
	Name    string      `json:"name"`
	Promise string      `json:"promise"`
	Status  CheckStatus `json:"status"`
	Outcome string      `json:"outcome"` // what the check saw, in one line
}

// CheckStatus says how a check ended.
type CheckStatus string

// The values of CheckStatus.
const (
	CheckOK      CheckStatus = "ok"
	CheckFailed  CheckStatus = "failed"
	CheckSkipped CheckStatus = "skipped" // the promise does not apply, or the check had nothing to run it with
)

// Count returns the number of checks that ended with status s.
func (v *Verification) Count(s CheckStatus) int {
	n := 0
	for _, c := range v.Checks {
		if c.Status == s {
			n++
		}
	}
	return n
}

// Verify checks whether a plugin keeps the promises of the protocol and of its own manifest. Its workers are processes, whatever cfg.Mode says, and start one
// after the other. They run the examples of the manifest and the given items, each of them one JSON text, many times.
//
// The error is that of [Open] if no worker could be started, and ctx's cause if ctx ends first. A broken promise is not an error: the Verification reports it.
func Verify(ctx context.Context, cfg Config, items ...json.RawMessage) (*Verification, error) {
	l, err := openProbe(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer l.close()
	memory, slot, err := l.buffers.take(min(verifyBytes, l.buffers.limit))
	if err != nil {
		return nil, err
	}
	defer l.buffers.give(&slot)
	var given *conform.Buffers
	if memory != nil {
		given = &conform.Buffers{Memory: memory, Offset: uint64(slot.Offset)}
	}
	number := 0
	var said protocol.Manifest // the manifest of the worker that was started last
	report, err := conform.Run(ctx, func(ctx context.Context) (*conform.Worker, error) {
		number++
		plain := number%2 == 0 // a worker that uses other channels than gRPC must also work without them
		w, err := l.Connect(ctx, number, 1, plain)
		if err != nil {
			return nil, l.cfg.startError(err)
		}
		said = manifestOf(w.Manifest())
		p := w.Probe()
		offered := given
		if plain {
			offered = nil
		}
		return &conform.Worker{Service: p.Service, Link: p.Link, Gone: p.Gone, Kill: p.Kill, Death: p.Death, Buffers: offered}, nil
	}, uint64(l.cfg.MaxResultBytes), items...)
	var start *StartError
	if setup, ok := errors.AsType[*session.SetupError](err); ok {
		err = errors.New(setup.Message) // the error's stage says the rest
	}
	if err != nil && ctx.Err() == nil && !errors.As(err, &start) {
		err = &StartError{Worker: number, Plugin: l.cfg.Plugin, Stage: "set-up", Err: err, Manifest: said}
	}
	if report == nil {
		return nil, err
	}
	v := &Verification{Name: report.Name, Version: report.Version, SDK: report.SDK}
	for _, c := range report.Checks {
		v.Checks = append(v.Checks, Check{c.Name, c.Promise, CheckStatus(c.Status), c.Outcome})
	}
	return v, err
}

// verifyBytes is the size of the buffer with which Verify tries a plugin.
const verifyBytes = 1 << 20

// Describe returns a plugin's manifest, with schemas. It starts a worker process, asks it, and ends it without a set-up.
func Describe(ctx context.Context, cfg Config) (protocol.Manifest, error) {
	l, err := openProbe(ctx, cfg)
	if err != nil {
		return protocol.Manifest{}, err
	}
	defer l.close()
	deadline := time.Now().Add(l.cfg.StartTimeout) // of Connect and Describe together
	w, err := l.Connect(ctx, 1, 1, l.cfg.Inline)
	if err != nil {
		return protocol.Manifest{}, l.cfg.startError(err)
	}
	defer w.Bury()
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, l.Late())
	defer cancel()
	pb, err := w.Describe(ctx)
	if err != nil {
		return protocol.Manifest{}, l.cfg.startError(w.FailDescribe(ctx, err))
	}
	return manifestOf(pb), nil
}

// CheckTempDir says whether a pool can keep its sockets in the folder dir. The folder must be writable, and its path short enough. CheckTempDir returns the
// folder that the pool would use: dir itself or, for "", the default.
func CheckTempDir(dir string) (string, error) {
	return child.CheckTempDir(dir)
}

// probe starts one worker process at a time, without a pool.
type probe struct {
	*process.Launcher
	cfg     *Config
	buffers *buffers
}

func openProbe(ctx context.Context, cfg Config) (*probe, error) {
	cfg.Mode, cfg.Workers = ModeProcess, 1
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	b, err := openBuffers(cfg.BufferBytes, !cfg.Inline)
	if err != nil {
		cfg.Logger.Debug("buffers are ordinary memory", "err", err)
	}
	l, err := openLauncher(ctx, &cfg, b, nil)
	if err != nil {
		b.close()
		return nil, err
	}
	return &probe{l, &cfg, b}, nil
}

func (p *probe) close() {
	p.Close()
	p.buffers.close()
}
