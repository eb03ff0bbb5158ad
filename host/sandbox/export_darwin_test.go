package sandbox

import "context"

// Rehearsed is what became of a process that tried the walls of a profile.
func Rehearsed(ctx context.Context, network, fork bool) error {
	return rehearsed(ctx, play{Basic, network, fork})
}
