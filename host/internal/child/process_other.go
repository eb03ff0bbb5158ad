//go:build !linux

package child

import (
	"errors"
	"net"
	"runtime"
	"time"
)

// checkPeer accepts every connection: this package does not find out the peer on these systems.
func (*Process) checkPeer(net.Conn) error { return nil }

// Stopped returns false, because it cannot tell on these systems. The host waits for a stopped process as for one that runs its teardown.
func (*Process) Stopped() bool { return false }

// CanReadCPU says whether the CPU time of a process can be read on this system.
const CanReadCPU = false

// ReadCPU returns an error: this package cannot read the CPU time of a process on these systems.
func ReadCPU(int) (time.Duration, error) {
	return 0, errors.New("the CPU time of a process cannot be read on " + runtime.GOOS)
}

// CanReadRSS says whether the memory of a process can be read on this system.
const CanReadRSS = false

// ReadRSS returns an error: this package cannot read the memory of a process on these systems.
func ReadRSS(int) (int64, error) {
	return 0, errors.New("the memory of a process cannot be read on " + runtime.GOOS)
}
