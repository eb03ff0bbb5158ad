package channel

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// FromWorker makes a channel to the host. Ours is the end to read, theirs is to be inherited.
func FromWorker() (ours, theirs *os.File, err error) {
	host, worker, err := pair()
	if err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(host, true); err != nil { // the runtime's poller takes only such files
		return nil, nil, errors.Join(err, unix.Close(host), unix.Close(worker))
	}
	return os.NewFile(uintptr(host), "from worker"), os.NewFile(uintptr(worker), "to host"), nil
}

// ToWorker makes a channel from the host. Ours is the end to write, theirs is to be inherited. A write to ours never waits: without room
// its error is EAGAIN.
func ToWorker() (ours, theirs *os.File, err error) {
	host, worker, err := pair()
	if err != nil {
		return nil, nil, err
	}
	// Nobody reads this end, and what the worker would send to it would be freed by the host.
	if err := unix.Shutdown(host, unix.SHUT_RD); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("shutdown: %w", err), unix.Close(host), unix.Close(worker))
	}
	ours, theirs = os.NewFile(uintptr(host), "to worker"), os.NewFile(uintptr(worker), "from host")
	// Only now, so that the runtime's poller does not watch it: a socket wakes its watcher whenever the other end has read something.
	if err := unix.SetNonblock(host, true); err != nil {
		return nil, nil, errors.Join(err, ours.Close(), theirs.Close())
	}
	return ours, theirs, nil
}

func pair() (host, worker int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("socketpair: %w", err)
	}
	refuseRights(p[0])
	return p[0], p[1], nil
}

// soPassRights is SO_PASSRIGHTS (include/uapi/asm-generic/socket.h), the same on all architectures that Go has.
const soPassRights = 83

// Control prepares the socket of a connection to a worker, for [net.Dialer]: it takes no descriptors from the other end.
func Control(network, _ string, c syscall.RawConn) error {
	if network != "unix" {
		return nil
	}
	return c.Control(func(fd uintptr) { refuseRights(int(fd)) })
}

// refuseRights makes a unix socket take no descriptors from its other end (socket(7), SO_PASSRIGHTS). The kernel closes those that nobody
// asked for inside the receiver's read or close, and a close can take as long as the sender likes. Before Linux 6.16 there is no means to.
func refuseRights(socket int) {
	_ = unix.SetsockoptInt(socket, unix.SOL_SOCKET, soPassRights, 0)
}
