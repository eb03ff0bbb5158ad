package sleep

import (
	"context"
	"fmt"
	"time"
)

// Sleep waits for d and returns d in seconds.
//
// The error says that d is negative or above [Max], or matches the context's cause if ctx ends first. In all these cases Sleep returns at once.
func Sleep(ctx context.Context, d Duration) (float64, error) {
	if err := d.check(d.String()); err != nil {
		return 0, err
	}
	timer := time.NewTimer(time.Duration(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	if ctx.Err() != nil {
		return 0, fmt.Errorf("sleep of %v: %w", d, context.Cause(ctx))
	}
	return d.Seconds(), nil
}
