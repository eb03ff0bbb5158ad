//go:build !linux

package family

import "errors"

// Guard is a small process that outlives its host if that is killed, for as long as it takes to end the host's families.
type Guard struct{}

// OpenGuard has nothing to offer here.
func OpenGuard(Name, string) (*Guard, error) { return nil, errors.ErrUnsupported }

// PID is its process id.
func (*Guard) PID() int { return 0 }

// Gone is closed when it has ended.
func (*Guard) Gone() <-chan struct{} { return nil }

// Close sends the guard home.
func (*Guard) Close() {}

// RunGuard reports whether this process was a guard.
func RunGuard() bool { return false }
