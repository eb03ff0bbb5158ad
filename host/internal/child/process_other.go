//go:build !linux

package child

import (
	"errors"
	"net"
	"runtime"
)

// checkPeer has no means here.
func (*Process) checkPeer(net.Conn) error { return nil }

// Stopped cannot tell here. The host waits for a stopped process as for one that runs its teardown.
func (*Process) Stopped() bool { return false }

// CanReadRSS says that the memory of a process can be read here.
const CanReadRSS = false

// ReadRSS has no means here.
func ReadRSS(int) (int64, error) {
	return 0, errors.New("the memory of a process cannot be read on " + runtime.GOOS)
}
