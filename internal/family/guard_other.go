//go:build !linux

package family

import "errors"

// Guard is a small process that outlives its host if the host is killed, until it has killed the host's families. This system has none.
type Guard struct{}

// OpenGuard returns [errors.ErrUnsupported].
func OpenGuard(Name, string) (*Guard, error) { return nil, errors.ErrUnsupported }

// PID returns 0.
func (*Guard) PID() int { return 0 }

// Gone returns nil.
func (*Guard) Gone() <-chan struct{} { return nil }

// Close does nothing.
func (*Guard) Close() {}

// RunGuard returns false: no process is a guard on this system.
func RunGuard() bool { return false }
