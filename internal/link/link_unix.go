//go:build unix

package link

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Pair makes both ends: one to use, which takes messages of at most so many bytes, and one for another process to [Open].
func Pair(most int) (*Link, *os.File, error) {
	syscall.ForkLock.RLock() // not every system can make them close-on-exec at once
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "link")
	ours, err := Open(fds[0], most)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// Open makes a link of a file descriptor that [Pair] made, which takes messages of at most so many bytes.
func Open(fd, most int) (*Link, error) {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil { // only such files wait without a thread
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "link")
	l, err := open(file, most)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

func write(fd uintptr, b []byte) (int, error) {
	for {
		n, err := unix.Write(int(fd), b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func shutdown(fd uintptr) error { return unix.Shutdown(int(fd), unix.SHUT_WR) }
