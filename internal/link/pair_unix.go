//go:build unix

package link

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/channel"
)

// New makes one end of a link. in and out are the files of the other end, for another process to [Open]. most is the size limit, in bytes, of a message
// to receive.
func New(most int) (l *Link, in, out *os.File, err error) {
	ours, in, err := channel.ToWorker()
	if err != nil {
		return nil, nil, nil, err
	}
	theirs, out, err := channel.FromWorker()
	if err != nil {
		return nil, nil, nil, errors.Join(err, in.Close(), ours.Close())
	}
	outlet, err := newOutlet(ours)
	if err != nil {
		return nil, nil, nil, errors.Join(err, in.Close(), ours.Close(), theirs.Close(), out.Close())
	}
	return newLink(theirs, outlet, most), in, out, nil
}

// Open makes an end of a link from two inherited file descriptors. most is the size limit, in bytes, of a message to receive.
func Open(in, out, most int) (*Link, error) {
	for _, fd := range []int{in, out} {
		unix.CloseOnExec(fd)
	}
	writer := os.NewFile(uintptr(out), "link") // made while out still blocks, so that the runtime's poller does not watch it
	for _, fd := range []int{in, out} {
		if err := unix.SetNonblock(fd, true); err != nil { // only a read from a non-blocking file waits in the poller, without a thread
			return nil, fmt.Errorf("file descriptor %d: %w", fd, err)
		}
	}
	outlet, err := newOutlet(writer)
	if err != nil {
		return nil, err
	}
	return newLink(os.NewFile(uintptr(in), "link"), outlet, most), nil
}

func write(fd uintptr, b []byte) (int, error) {
	for {
		n, err := unix.Write(int(fd), b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// watched returns a copy of a non-blocking file descriptor, for the runtime's poller to watch.
func watched(fd uintptr) (*os.File, error) {
	fd2, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd2), "link"), nil
}

// writable reports whether poll(2) says that a file descriptor can be written, or has failed.
func writable(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0)
	return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
}
