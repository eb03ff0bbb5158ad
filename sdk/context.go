package sdk

import (
	"context"
	"maps"

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
