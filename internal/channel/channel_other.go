//go:build !linux

package channel

import (
	"os"
	"syscall"
)

// FromWorker makes a channel to the host. Ours is the end to read, theirs is to be inherited.
func FromWorker() (ours, theirs *os.File, err error) { return os.Pipe() }

// ToWorker makes a channel from the host. Ours is the end to write, theirs is to be inherited.
func ToWorker() (ours, theirs *os.File, err error) {
	theirs, ours, err = os.Pipe()
	return ours, theirs, err
}

// Control has nothing to prepare here, for [net.Dialer].
func Control(string, string, syscall.RawConn) error { return nil }
