package channel

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// FromWorker makes a channel to the host. The host reads from ours; the worker inherits theirs.
func FromWorker() (ours, theirs *os.File, err error) {
	host, worker, err := pair()
	if err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(host, true); err != nil { // the runtime's poller accepts only non-blocking files
		return nil, nil, errors.Join(err, unix.Close(host), unix.Close(worker))
	}
	return os.NewFile(uintptr(host), "from worker"), os.NewFile(uintptr(worker), "to host"), nil
}

// ToWorker makes a channel from the host. The host writes to ours; the worker inherits theirs. A write to ours never blocks: if there is no room,
// the error is EAGAIN.
func ToWorker() (ours, theirs *os.File, err error) {
	host, worker, err := pair()
	if err != nil {
		return nil, nil, err
	}
	// The host never reads from this end. Without the shutdown the worker could send to it, and the host would have to free what it sent.
	if err := unix.Shutdown(host, unix.SHUT_RD); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("shutdown: %w", err), unix.Close(host), unix.Close(worker))
	}
	ours, theirs = os.NewFile(uintptr(host), "to worker"), os.NewFile(uintptr(worker), "from host")
	// Set only after NewFile, so that the runtime's poller does not watch the file: a socket wakes its watcher whenever the other end has read something.
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

// soPassRights is SO_PASSRIGHTS (include/uapi/asm-generic/socket.h). It has the same value on all architectures that Go supports.
const soPassRights = 83

// Control is for [net.Dialer]. It makes the socket of a connection to a worker accept no descriptors from the worker.
func Control(network, _ string, c syscall.RawConn) error {
	if network != "unix" {
		return nil
	}
	return c.Control(func(fd uintptr) { refuseRights(int(fd)) })
}

// refuseRights makes a unix socket accept no descriptors from its other end (socket(7), SO_PASSRIGHTS). Without this, the kernel closes descriptors
// that nobody asked for within the receiver's read or close, and such a close can take as long as the sender likes. Linux before 6.16 does not have
// the option.
func refuseRights(socket int) {
	_ = unix.SetsockoptInt(socket, unix.SOL_SOCKET, soPassRights, 0)
}
