package sandbox

import (
	"context"

	"github.com/parhost/parhost/host/sandbox/internal/trial"
)

// OpenUnrehearsed opens a box of whose walls nobody has seen that they hold.
func OpenUnrehearsed(policy Policy) (*Box, error) {
	policy, err := policy.complete()
	if err != nil {
		return nil, err
	}
	return openBox(context.Background(), policy, "", "")
}

// Try has a process try the walls of a box.
func (b *Box) Try() (trial.Outcome, error) { return b.try() }
