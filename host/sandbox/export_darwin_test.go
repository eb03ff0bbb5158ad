package sandbox

import "context"

// Rehearsed returns the result of a process that tested the walls of a profile.
func Rehearsed(ctx context.Context, network, fork bool) error {
	return rehearsed(ctx, play{Basic, network, fork})
}
