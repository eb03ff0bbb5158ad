//go:build !linux

package family

// Supported is true on systems where families can be found.
const Supported = false

// Mark does nothing on this system.
func (Name) Mark(int, uint32) {}

// End finds no processes on this system.
func (Search) End() (ended int, err error) { return 0, nil }

// Has returns false on this system.
func (Search) Has(int) bool { return false }

// Markable returns nil: marks are not used on this system.
func Markable() error { return nil }

// ReapOrphans does nothing on this system.
func (Search) ReapOrphans(<-chan struct{}) {}
