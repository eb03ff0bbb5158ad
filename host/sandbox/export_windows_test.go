package sandbox

import (
	"context"

	"github.com/parhost/parhost/host/sandbox/internal/trial"
)

// OpenUnrehearsed opens a box without a rehearsal.
func OpenUnrehearsed(policy Policy) (*Box, error) {
	policy, err := policy.complete()
	if err != nil {
		return nil, err
	}
	return openBox(context.Background(), policy, "", "")
}

// Try lets a process test the walls of a box.
func (b *Box) Try() (trial.Outcome, error) { return b.try() }
