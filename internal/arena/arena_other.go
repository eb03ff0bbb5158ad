//go:build !linux

package arena

import (
	"errors"
	"os"
	"runtime"
)

// Arena is memory that a host shares with one worker. This system has none.
type Arena struct{ mem []byte }

// Buffers is memory that a host shares with all workers of a pool. This system has none.
type Buffers struct{ mem []byte }

var errNotSupported = errors.New("no sealed shared memory on " + runtime.GOOS)

// New returns an error: this system has no sealed shared memory.
func New(int) (*Arena, *os.File, error) { return nil, nil, errNotSupported }

// AddressSpace returns 0: no limit is known on this system.
func AddressSpace() int64 { return 0 }

// Map returns an error: this system has no sealed shared memory.
func Map(int) (*Arena, error) { return nil, errNotSupported }

// Close does nothing on this system.
func (a *Arena) Close() error { return nil }

// Release does nothing on this system, and returns from.
func (a *Arena) Release(_ *os.File, from, _ int, _ func() bool) (int, error) { return from, nil }

// NewRings returns an error: this system has no sealed shared memory.
func NewRings(int) ([]byte, *os.File, error) { return nil, nil, errNotSupported }

// MapRings returns an error: this system has no sealed shared memory.
func MapRings(int, int) ([]byte, error) { return nil, errNotSupported }

// NewBuffers returns an error: this system has no sealed shared memory.
func NewBuffers(int) (*Buffers, *os.File, error) { return nil, nil, errNotSupported }

// MapBuffers returns an error: this system has no sealed shared memory.
func MapBuffers(int) (*Buffers, error) { return nil, errNotSupported }

// Close does nothing on this system.
func (b *Buffers) Close(int) error { return nil }
