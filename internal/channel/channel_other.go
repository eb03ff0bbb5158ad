//go:build !linux

package channel

import (
	"os"
	"syscall"
)

// FromWorker makes a channel to the host. The host reads from ours; the worker inherits theirs.
func FromWorker() (ours, theirs *os.File, err error) { return os.Pipe() }

// ToWorker makes a channel from the host. The host writes to ours; the worker inherits theirs.
func ToWorker() (ours, theirs *os.File, err error) {
	theirs, ours, err = os.Pipe()
	return ours, theirs, err
}

// Control is for [net.Dialer]. It has nothing to do on this system.
func Control(string, string, syscall.RawConn) error { return nil }
