package gobuild

import (
	"context"
	"testing"
)

// SetMemory changes the memory limit for each process of a build until the test ends.
func SetMemory(t *testing.T, bytes uint64) {
	before := maxMemoryBytes
	maxMemoryBytes = bytes
	t.Cleanup(func() { maxMemoryBytes = before })
}

// CheckIncludes does what a build does first on systems without Landlock.
func CheckIncludes(ctx context.Context, dir string) error {
	b := newBounds()
	defer b.close(false)
	env, err := readEnv(ctx, dir, b)
	if err != nil {
		return err
	}
	s, err := findSources(ctx, dir, env, false)
	if err != nil {
		return err
	}
	return s.checkIncludes()
}

// FindSpecial is the search that a build begins when its go command takes long.
func FindSpecial(ctx context.Context, dir string) error { return (&environ{dir: dir}).findSpecial(ctx) }
