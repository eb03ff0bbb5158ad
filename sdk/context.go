package sdk

import (
	"context"
	"maps"
	"math/rand/v2"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/work"
)

// Logger returns a logger whose lines reach the host, tagged with the worker and, inside Run, with the item. ctx must be the context of Run, Setup or
// Teardown, or derived from it; with any other context the logger discards everything.
func Logger(ctx context.Context) hclog.Logger {
	if logger := work.LoggerOf(ctx); logger != nil {
		return logger
	}
	return hclog.NewNullLogger()
}

// Metadata returns a copy of the key-value pairs that the caller attached to the run with host.WithMetadata, such as a trace ID or a tenant. It
// returns nil if the caller attached none, and outside of a workload's Run.
func Metadata(ctx context.Context) map[string]string {
	if c := work.FromContext(ctx); c != nil {
		return maps.Clone(c.Metadata())
	}
	return nil
}

// Progress tells the host how much of the running item is done: fraction goes from 0 to 1. It is cheap enough for a hundred calls per second, but not
// for a hundred thousand. Outside of a workload's Run it does nothing.
func Progress(ctx context.Context, fraction float64) {
	if c := work.FromContext(ctx); c != nil {
		c.Progress(fraction)
	}
}

// Rand returns the random source of the running item. The source depends only on the seed of the run and the item's index in the input: an item draws
// the same numbers in every mode, on every worker and in every attempt. A second call returns the same source, which continues where it was.
//
// Only one goroutine at a time may use the source. To draw numbers in several goroutines, seed one new source for each of them from this one. The
// source is not cryptographically secure. A batch function must use [RandAt]. Outside of a workload's Run, for example in Setup, Rand returns a new
// source with a random seed.
func Rand(ctx context.Context) *rand.Rand { return RandAt(ctx, 0) }

// RandAt is [Rand] for batch functions: it returns the random source of items[i]. The items that share a batch differ from run to run, so each item
// has its own source. RandAt panics if i is out of range, as items[i] does.
func RandAt(ctx context.Context, i int) *rand.Rand {
	if c := work.FromContext(ctx); c != nil {
		return c.Rand(i)
	}
	return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
}
