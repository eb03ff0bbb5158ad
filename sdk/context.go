package sdk

import (
	"context"
	"maps"
	"math/rand/v2"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/work"
)

// Logger returns a logger that reaches the host, tagged with the worker and, in Run, with the item. ctx is that of Run, Setup or Teardown,
// or derived from it; with any other the logger discards everything.
func Logger(ctx context.Context) hclog.Logger {
	if logger := work.LoggerOf(ctx); logger != nil {
		return logger
	}
	return hclog.NewNullLogger()
}

// Metadata returns what the caller says of the run that the item belongs to, such as a trace or a tenant: host.WithMetadata sets it. It is
// nil if the caller says nothing, and outside of a workload's Run.
func Metadata(ctx context.Context) map[string]string {
	if c := work.FromContext(ctx); c != nil {
		return maps.Clone(c.Metadata())
	}
	return nil
}

// Progress tells the host how far the running item is, from 0 to 1. It is cheap enough for a hundred calls a second, not for a
// hundred thousand. Outside of a workload's Run it does nothing.
func Progress(ctx context.Context, fraction float64) {
	if c := work.FromContext(ctx); c != nil {
		c.Progress(fraction)
	}
}

// Rand returns the random source of the running item. It is determined by the seed of the run and the item's index in the input: an item
// draws the same numbers in every mode, on whichever worker, and in every attempt. Asking again returns the same source, which goes on.
//
// The source is for one goroutine at a time; for others make sources of numbers that it draws. It is not for secrets. In a batch function
// use [RandAt]. Outside of a workload's Run, in Setup for example, it returns a new source with a seed of its own.
func Rand(ctx context.Context) *rand.Rand { return RandAt(ctx, 0) }

// RandAt is [Rand] for batch functions: it returns the random source of items[i]. Which items share a batch differs from run to run, so
// each item has a source of its own. i beyond the items panics, as items[i] does.
func RandAt(ctx context.Context, i int) *rand.Rand {
	if c := work.FromContext(ctx); c != nil {
		return c.Rand(i)
	}
	return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
}
