//go:build unix

package link

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// New makes a link, which takes messages of at most so many bytes, and the files of its other end, for another process to [Open].
func New(most int) (l *Link, in, out *os.File, err error) {
	in, ours, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	theirs, out, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, errors.Join(err, in.Close(), ours.Close())
	}
	if l, err = newLink(theirs, ours, most); err != nil {
		return nil, nil, nil, errors.Join(err, in.Close(), ours.Close(), theirs.Close(), out.Close())
	}
	return l, in, out, nil
}

// Open makes a link of two inherited file descriptors, which takes messages of at most so many bytes.
func Open(in, out, most int) (*Link, error) {
	files := [2]*os.File{}
	for i, fd := range []int{in, out} {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil { // only such files wait without a thread
			return nil, fmt.Errorf("file descriptor %d: %w", fd, err)
		}
		files[i] = os.NewFile(uintptr(fd), "link")
	}
	return newLink(files[0], files[1], most)
}

func write(fd uintptr, b []byte) (int, error) {
	for {
		n, err := unix.Write(int(fd), b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
