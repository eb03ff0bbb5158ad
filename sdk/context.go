package sdk

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/work"
)

// Logger returns a logger that reaches the host, tagged with the worker and the running item. Outside of a workload's Run it
// discards everything.
func Logger(ctx context.Context) hclog.Logger {
	if c := work.FromContext(ctx); c != nil {
		return c.Logger()
	}
	return hclog.NewNullLogger()
}

// Progress tells the host how far the running item is, from 0 to 1. It is cheap enough for a hundred calls a second, not for a
// hundred thousand. Outside of a workload's Run it does nothing.
func Progress(ctx context.Context, fraction float64) {
	if c := work.FromContext(ctx); c != nil {
		c.Progress(fraction)
	}
}
