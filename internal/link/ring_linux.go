package link

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A ring's numbers lie in shared memory, as docs/PROTOCOL.md §5.11 has it. They are uint32 in the machine's byte order, each in a
// cache line of its own.
const (
	wroteAt  = 0   // bytes that the writer has ever written, modulo 2^32
	readAt   = 64  // bytes that the reader has ever read, likewise
	closedAt = 128 // 1 when nothing more is written
	readerAt = 192 // 1 while the reader sleeps, or is about to
	writerAt = 256 // 1 while the writer waits for room, or is about to

	ringBytes = 64 << 10 // of data; a power of two
)

// mostFutile is how often in a row an end may be woken for nothing. Each end wakes the other at most once for each time that it says it sleeps,
// and only after a change, so that an honest one never comes near.
const mostFutile = 1000

// A ringError says what the other end does with a ring against the protocol. It matches [ErrFrame].
type ringError string

func (e ringError) Error() string { return string(e) }

func (ringError) Is(target error) bool { return target == ErrFrame }

// ringEnd is what both ends of a ring have.
//
// The other end may write anything into the memory at any time. So this end's number is kept here, and the other end's is read once, and then
// has to lie between the last one and the most that it can be.
type ringEnd struct {
	mu   sync.Mutex // held while the memory is touched
	gone bool       // the memory is unmapped
	over error      // why nothing more is expected of the other end; nil if it is

	data         []byte
	ours, theirs *atomic.Uint32 // how many bytes each end has moved
	at, seen     uint32         // ours, and theirs when it was last looked at
	lead         uint32         // by how many bytes theirs may be ahead of ours

	asleep, otherAsleep *atomic.Uint32
	wakeOther           func()
	bell                bell
	awake               func() bool        // looks whether there is a reason not to sleep; called with mu held
	ready               func(uintptr) bool // the same, for the poller
	futile              int                // how often in a row it looked in vain
}

// bell is a file by which an end is woken.
type bell struct {
	file  *os.File
	raw   syscall.RawConn
	drain bool // it is a socket. The poller tells of each write to an eventfd, whether or not somebody reads it
}

func newBell(file *os.File, drain bool) (bell, error) {
	raw, err := file.SyscallConn()
	return bell{file, raw, drain}, err
}

// word is a number in shared memory.
func word(memory []byte, at int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&memory[at])) }

// see looks at the other end's number.
func (e *ringEnd) see() {
	now, most := e.theirs.Load(), e.at+e.lead
	if now-e.seen > most-e.seen {
		e.fail(ringError(fmt.Sprintf("a ring's number went from %d to %d, and could be %d at most", e.seen, now, most)))
		return
	}
	e.seen = now
}

// fail ends the use of the ring, unless it is over already.
func (e *ringEnd) fail(err error) {
	if e.over == nil {
		e.over = err
	}
}

// moved tells the other end that n bytes have been moved.
func (e *ringEnd) moved(n int) {
	e.at += uint32(n)
	e.ours.Store(e.at)
	e.wake()
}

// wake wakes the other end if it sleeps.
func (e *ringEnd) wake() {
	if e.otherAsleep.Load() != 0 && e.otherAsleep.Swap(0) != 0 {
		e.wakeOther()
	}
}

// sleep returns when there is a reason not to sleep, or with an error if its time is over or the bell is closed.
func (e *ringEnd) sleep() error {
	err := e.bell.raw.Read(e.ready)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.gone {
		e.asleep.Store(0)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		err = os.ErrClosed
	}
	return err
}

// mayWake reports whether there is a reason not to sleep. If there is none, the other end knows from then on that it has to wake this one.
func (e *ringEnd) mayWake(fd uintptr) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over != nil || e.awake() {
		e.futile = 0
		return true
	}
	if e.futile++; e.futile > mostFutile {
		e.fail(ringError(fmt.Sprintf("woke the other end %d times for nothing", mostFutile)))
		return true
	}
	if e.bell.drain { // first: what comes from now on is a reason to look again
		var bytes [512]byte
		_, _ = unix.Read(int(fd), bytes[:])
	}
	e.asleep.Store(1) // before the last look: either that one sees what the other end did, or the other end sees that this one sleeps
	return e.awake()
}

// leave keeps this end from touching the memory.
func (e *ringEnd) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = true
}

// stop ends the use of the ring with a reason, and whatever waits there.
func (e *ringEnd) stop(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail(err)
	_ = e.bell.file.SetReadDeadline(time.Unix(1, 0))
}

type ringReader struct{ ringEnd }

var _ source = (*ringReader)(nil)

// newRingReader returns the end that reads a ring, whose numbers and data lie in two parts of the memory.
func newRingReader(numbers, data []byte, b bell, wakeOther func()) *ringReader {
	r := &ringReader{ringEnd{
		data: data, ours: word(numbers, readAt), theirs: word(numbers, wroteAt), lead: ringBytes,
		asleep: word(numbers, readerAt), otherAsleep: word(numbers, writerAt), wakeOther: wakeOther, bell: b,
	}}
	closed := word(numbers, closedAt)
	r.awake = func() bool {
		ended := closed.Load() != 0 // looked at first: nothing is written after it
		if r.see(); ended {
			r.fail(io.EOF)
		}
		return r.seen != r.at || r.over != nil
	}
	r.ready = r.mayWake
	return r
}

// Read is part of [io.Reader].
func (r *ringReader) Read(p []byte) (int, error) {
	if n, err := r.take(p); n > 0 || err != nil {
		return n, err
	}
	slept := r.sleep()
	if n, err := r.take(p); n > 0 || err != nil { // what has come by then goes first
		return n, err
	}
	return 0, slept
}

// take copies what is there, or says why nothing more comes.
func (r *ringReader) take(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == r.at && r.over == nil {
		r.awake()
	}
	there := int(r.seen - r.at)
	if there == 0 || r.gone {
		return 0, r.over
	}
	n := min(len(p), there)
	m := copy(p[:n], r.data[r.at%ringBytes:])
	copy(p[m:n], r.data)
	r.moved(n)
	return n, nil
}

// expire ends Read when all is read that has been written by now, without a grace: what a worker has said lies there when its stream ends.
func (r *ringReader) expire(time.Time) {
	r.mu.Lock()
	if r.over == nil {
		r.awake()
	}
	r.mu.Unlock()
	r.stop(os.ErrDeadlineExceeded)
}

func (r *ringReader) close() {
	r.stop(os.ErrClosed)
	_ = r.bell.file.Close()
}

type ringWriter struct {
	ringEnd
	closed *atomic.Uint32
	failed func(error) // is told what the other end has done against the protocol
}

var _ sink = (*ringWriter)(nil)

// newRingWriter returns the end that writes a ring, whose numbers and data lie in two parts of the memory.
func newRingWriter(numbers, data []byte, b bell, wakeOther func()) *ringWriter {
	w := &ringWriter{closed: word(numbers, closedAt), ringEnd: ringEnd{
		data: data, ours: word(numbers, wroteAt), theirs: word(numbers, readAt),
		asleep: word(numbers, writerAt), otherAsleep: word(numbers, readerAt), wakeOther: wakeOther, bell: b,
	}}
	w.awake = func() bool {
		w.see()
		return w.room() > 0 || w.over != nil
	}
	w.ready = w.mayWake
	return w
}

// room is how many bytes there is room for.
func (w *ringWriter) room() int { return int(ringBytes - (w.at - w.seen)) }

func (w *ringWriter) write(b []byte) (rest []byte, err error) {
	rest, err = w.put(b)
	if errors.Is(err, ErrFrame) {
		w.failed(err)
	}
	return rest, err
}

func (w *ringWriter) put(b []byte) (rest []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.room() < len(b) && w.over == nil {
		w.see()
	}
	if w.over != nil || w.gone {
		return b, w.over
	}
	n := min(len(b), w.room())
	if n == 0 {
		return b, nil
	}
	m := copy(w.data[w.at%ringBytes:], b[:n])
	copy(w.data, b[m:n])
	w.moved(n)
	return b[n:], nil
}

func (w *ringWriter) awaitRoom() error { return w.sleep() }

func (w *ringWriter) expire(at time.Time) { _ = w.bell.file.SetReadDeadline(at) }

// Close tells the reader that nothing more comes, and ends awaitRoom.
func (w *ringWriter) Close() error {
	w.mu.Lock()
	if !w.gone {
		w.closed.Store(1)
		w.wake()
	}
	w.mu.Unlock()
	w.stop(os.ErrClosed)
	return w.bell.file.Close()
}
