package link

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// outlet is a file that a link writes its messages to.
type outlet struct {
	file *os.File // non-blocking, and not watched by the poller: see awaitRoom
	raw  syscall.RawConn

	mu      sync.Mutex
	until   time.Time // deadline of awaitRoom; zero means none
	closed  bool
	waiting *os.File // while awaitRoom waits: a copy of file that the poller watches
}

var _ sink = (*outlet)(nil)

func newOutlet(file *os.File) (*outlet, error) {
	raw, err := file.SyscallConn()
	return &outlet{file: file, raw: raw}, err
}

func (o *outlet) write(b []byte) (rest []byte, err error) {
	failed := o.raw.Write(func(fd uintptr) (done bool) {
		for err == nil && len(b) > 0 {
			var n int
			n, err = write(fd, b)
			b = b[max(n, 0):]
		}
		return true
	})
	if errors.Is(err, syscall.EAGAIN) {
		err = nil
	}
	return b, errors.Join(failed, err)
}

// awaitRoom waits until the file has room. The poller watches the file only during this time: a socket wakes its watcher each time the other end
// has read something, which would make every round trip longer.
func (o *outlet) awaitRoom() error {
	room, err := o.watch()
	if err != nil {
		return err
	}
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.waiting = nil
		_ = room.Close()
	}()
	raw, err := room.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Write(writable)
}

// watch returns a copy of the file, which the poller watches.
func (o *outlet) watch() (*os.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, os.ErrClosed
	}
	var room *os.File
	var err error
	if failed := o.raw.Control(func(fd uintptr) { room, err = watched(fd) }); failed != nil || err != nil {
		return nil, errors.Join(failed, err)
	}
	if err := room.SetWriteDeadline(o.until); err != nil {
		return nil, errors.Join(err, room.Close())
	}
	o.waiting = room
	return room, nil
}

func (o *outlet) expire(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until = at
	if o.waiting != nil {
		_ = o.waiting.SetWriteDeadline(at)
	}
}

func (o *outlet) Close() error {
	err := o.file.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if o.waiting != nil {
		_ = o.waiting.Close()
	}
	return err
}
