//go:build !linux

package arena

import (
	"errors"
	"os"
	"runtime"
)

// Arena is the memory, mapped. There is none here.
type Arena struct{ mem []byte }

// Buffers are the memory, mapped. There are none here.
type Buffers struct{ mem []byte }

var errNotSupported = errors.New("no sealed shared memory on " + runtime.GOOS)

// New has no means here.
func New(int) (*Arena, *os.File, error) { return nil, nil, errNotSupported }

// AddressSpace knows of no limit here.
func AddressSpace() int64 { return 0 }

// Map has no means here.
func Map(int) (*Arena, error) { return nil, errNotSupported }

// Close unmaps the arena.
func (a *Arena) Close() error { return nil }

// Release gives memory back.
func (a *Arena) Release(_ *os.File, from, _ int, _ func() bool) (int, error) { return from, nil }

// NewRings has no means here.
func NewRings(int) ([]byte, *os.File, error) { return nil, nil, errNotSupported }

// MapRings has no means here.
func MapRings(int, int) ([]byte, error) { return nil, errNotSupported }

// NewBuffers has no means here.
func NewBuffers(int) (*Buffers, *os.File, error) { return nil, nil, errNotSupported }

// MapBuffers has no means here.
func MapBuffers(int) (*Buffers, error) { return nil, errNotSupported }

// Close lets go of the memory.
func (b *Buffers) Close(int) error { return nil }
