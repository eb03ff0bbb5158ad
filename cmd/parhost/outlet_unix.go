//go:build unix

package main

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// waitForRoom blocks until a file accepts more data, if err is EAGAIN: another process that shares a pipe may have made it non-blocking. It reports
// whether to write again.
func waitForRoom(f *os.File, err error) bool { return waitFor(f, err, unix.POLLOUT) }

func waitFor(f *os.File, err error, event int16) bool {
	if !errors.Is(err, unix.EAGAIN) {
		return false
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	polled := error(unix.EINTR)
	err = conn.Control(func(fd uintptr) {
		for errors.Is(polled, unix.EINTR) {
			_, polled = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: event}}, -1)
		}
	})
	return err == nil && polled == nil
}

// patient returns a reader that waits if a non-blocking file has no data at the moment.
func patient(r io.Reader) io.Reader {
	if f, ok := r.(*os.File); ok {
		return &patientReader{f}
	}
	return r
}

// patientReader reads a file that another process may have made non-blocking.
type patientReader struct{ file *os.File }

func (r *patientReader) Read(into []byte) (int, error) {
	for {
		n, err := r.file.Read(into)
		if n > 0 && errors.Is(err, unix.EAGAIN) {
			return n, nil
		}
		if err == nil || err == io.EOF || !waitFor(r.file, err, unix.POLLIN) {
			return n, err
		}
	}
}

// waiting reports whether a pipe or a socket has data to read at the moment.
func waiting(f *os.File) bool {
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	ready := false
	_ = conn.Control(func(fd uintptr) {
		list := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(list, 0); err != nil || n == 0 || list[0].Revents&unix.POLLIN == 0 {
			return
		}
		n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		ready = errors.Is(err, unix.ENOTSOCK) || n > 0 // poll also reports a socket at its end, from which nothing can be read
	})
	return ready
}
