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
)

// Verification is what [Verify] found out: a list of promises, each kept or not.
type Verification = conform.Report

// Verify holds a plugin to the promises of the protocol and of its own manifest. Its workers are processes, whatever cfg.Mode
// says, started one after the other; they run the examples of the manifest and items, each of them one JSON text, many times.
//
// The error is that of [Open] if no worker could be started, and ctx's cause if ctx ends first. A promise that is not kept is no
// error: it stands in the Verification.
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
	var said Manifest // by the worker that was started last
	v, err := conform.Run(ctx, func(ctx context.Context) (*conform.Worker, error) {
		number++
		w, err := l.Connect(ctx, number, 1, number%2 == 0) // what a worker can do past gRPC, it must also do without
		if err != nil {
			return nil, l.cfg.startError(err)
		}
		said = manifestOf(w.Manifest())
		p := w.Probe()
		return &conform.Worker{Service: p.Service, Link: p.Link, Gone: p.Gone, Kill: p.Kill, Death: p.Death, Buffers: given}, nil
	}, uint64(l.cfg.MaxResultBytes), items...)
	var start *StartError
	if setup, ok := errors.AsType[*session.SetupError](err); ok {
		err = errors.New(setup.Message) // the stage says the rest
	}
	if err != nil && ctx.Err() == nil && !errors.As(err, &start) {
		err = &StartError{Worker: number, Plugin: l.cfg.Plugin, Stage: "set-up", Err: err, Manifest: said}
	}
	return v, err
}

// verifyBytes is the size of the buffer that a plugin is tried with.
const verifyBytes = 1 << 20

// Describe returns what a plugin says of itself, with schemas: it starts a worker process, asks, and ends it without a set-up.
//
// The error is that of [Open].
func Describe(ctx context.Context, cfg Config) (Manifest, error) {
	l, err := openProbe(ctx, cfg)
	if err != nil {
		return Manifest{}, err
	}
	defer l.close()
	deadline := time.Now().Add(l.cfg.StartTimeout) // of both calls
	w, err := l.Connect(ctx, 1, 1, l.cfg.Inline)
	if err != nil {
		return Manifest{}, l.cfg.startError(err)
	}
	defer w.Bury()
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, l.Late())
	defer cancel()
	pb, err := w.Describe(ctx)
	if err != nil {
		return Manifest{}, l.cfg.startError(w.FailDescribe(ctx, err))
	}
	return manifestOf(pb), nil
}

// CheckTempDir says whether a pool can keep its sockets in a folder, which must be writable and have a path that is short enough. It
// returns the folder that would be used: dir itself or, for "", that which the default comes to.
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
	cfg.Mode, cfg.Workers = Process, 1
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
