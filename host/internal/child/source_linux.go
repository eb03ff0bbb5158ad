package child

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Read reads what the worker has written. It reads and counts in one step, so that no byte is missing from the count while markReady looks.
func (s *source) Read(b []byte) (n int, err error) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	waited := raw.Read(func(fd uintptr) (done bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for {
			n, err = unix.Read(int(fd), b)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		s.count += int64(max(0, n))
		return !errors.Is(err, unix.EAGAIN)
	})
	switch {
	case waited != nil:
		return 0, waited
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// unread returns how many bytes lie in a worker's socket (unix(7), SIOCINQ, which has the number of TIOCINQ and FIONREAD).
func unread(f *os.File) int64 {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0
	}
	var n int
	if failed := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); failed != nil || err != nil {
		return 0
	}
	return int64(n)
}
