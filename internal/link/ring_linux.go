package link

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The layout of a ring's counters and flags in shared memory (docs/PROTOCOL.md §5.11). They are uint32 in the machine's byte order, each in a cache line
// of its own.
const (
	wroteAt  = 0   // total of bytes that the writer has written, modulo 2^32
	readAt   = 64  // total of bytes that the reader has read, modulo 2^32
	closedAt = 128 // 1 when the writer writes no more
	readerAt = 192 // 1 while the reader sleeps, or is about to
	writerAt = 256 // 1 while the writer waits for room, or is about to

	ringBytes = 64 << 10 // bytes of data in a ring; a power of two
)

// maxFutile is how often in a row an end may be woken without a reason. An honest end never comes near this: it wakes the other at most once each
// time that the other has said that it sleeps, and only after a change.
const maxFutile = 1000

// A ringError says how the other end has used a ring against the protocol. It matches [ErrFrame].
type ringError string

func (e ringError) Error() string { return string(e) }

func (ringError) Is(target error) bool { return target == ErrFrame }

// ringEnd is what the reader and the writer of a ring have in common.
//
// The other end may write anything into the memory at any time. So this end keeps its own counter outside the shared memory. It reads the other
// end's counter once, and checks that the value lies between the last one and the highest possible one.
type ringEnd struct {
	mu   sync.Mutex // held while the memory is accessed
	gone bool       // the memory is unmapped
	over error      // why this end expects nothing more of the other; nil while it does

	data         []byte
	ours, theirs *atomic.Uint32 // counters in shared memory: bytes that this end and the other end have moved
	at, seen     uint32         // this end's counter, and the other's when it was last read
	lead         uint32         // bytes by which the other's counter may be ahead of this end's

	asleep, otherAsleep *atomic.Uint32
	wakeOther           func()
	bell                bell
	awake               func() bool        // reports whether there is a reason not to sleep; called with mu held
	ready               func(uintptr) bool // mayWake, as the poller calls it
	futile              int                // how often in a row mayWake found no reason to wake
}

// bell is a file by which the other end wakes this one.
type bell struct {
	file  *os.File
	raw   syscall.RawConn
	drain bool // the file is a socket, which must be emptied; an eventfd need not be read: the poller reports each write to it
}

func newBell(file *os.File, drain bool) (bell, error) {
	raw, err := file.SyscallConn()
	return bell{file, raw, drain}, err
}

// word is a counter or flag in shared memory.
func word(memory []byte, at int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&memory[at])) }

// set writes a value that the other end reads, before this end looks at what the other has written. Store would do, but in a program that is built with the
// race detector, Store does not keep a later Load from coming first if the memory lies outside Go's heap. Both ends would then sleep.
func set(w *atomic.Uint32, value uint32) { w.Swap(value) }

// see reads and checks the other end's counter.
func (e *ringEnd) see() {
	now, most := e.theirs.Load(), e.at+e.lead
	if now-e.seen > most-e.seen {
		e.fail(ringError(fmt.Sprintf("a ring's number went from %d to %d, and could be %d at most", e.seen, now, most)))
		return
	}
	e.seen = now
}

// fail records why the use of the ring ends. The first error counts.
func (e *ringEnd) fail(err error) {
	if e.over == nil {
		e.over = err
	}
}

// moved adds n bytes to this end's counter, and wakes the other end.
func (e *ringEnd) moved(n int) {
	e.at += uint32(n)
	set(e.ours, e.at)
	e.wake()
}

// wake wakes the other end if it sleeps.
func (e *ringEnd) wake() {
	if e.otherAsleep.Load() != 0 && e.otherAsleep.Swap(0) != 0 {
		e.wakeOther()
	}
}

// sleep blocks until there is a reason to wake. It returns an error if its deadline has passed or the bell is closed.
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

// mayWake reports whether there is a reason to wake. If there is none, it has set the flag by which the other end knows that it must wake this one.
func (e *ringEnd) mayWake(fd uintptr) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over != nil || e.awake() {
		e.futile = 0
		return true
	}
	if e.futile++; e.futile > maxFutile {
		e.fail(ringError(fmt.Sprintf("woke the other end %d times for nothing", maxFutile)))
		return true
	}
	if e.bell.drain { // before the flag is set: bytes that come after this are a reason to wake
		var bytes [512]byte
		_, _ = unix.Read(int(fd), bytes[:])
	}
	// The flag is set before the other end's counter is read for the last time. After a change that this read misses, the other end sees the flag and wakes this end.
	set(e.asleep, 1)
	return e.awake()
}

// leave keeps this end from accessing the memory from now on.
func (e *ringEnd) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = true
}

// stop ends the use of the ring with an error, and ends a call that waits there.
func (e *ringEnd) stop(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail(err)
	_ = e.bell.file.SetReadDeadline(time.Unix(1, 0))
}

type ringReader struct {
	ringEnd
	soon  func() bool // reports whether to poll; nil means no; called with mu held
	skips int         // how often poll returns at once, because it found nothing before
	fails int         // how often in a row it found nothing
}

// A reader that expects a message soon polls for up to pollTime before it sleeps, because waking it would take about as long. After a poll that found nothing, it
// leaves out the next poll; after two such polls in a row the next two, then four, and so on, up to 1 << mostFails.
const (
	pollTime  = 100 * time.Microsecond
	mostFails = 10
)

var _ source = (*ringReader)(nil)

// newRingReader returns the reading end of a ring whose counters and data lie in these parts of the memory.
func newRingReader(numbers, data []byte, b bell, wakeOther func()) *ringReader {
	r := &ringReader{ringEnd: ringEnd{
		data: data, ours: word(numbers, readAt), theirs: word(numbers, wroteAt), lead: ringBytes,
		asleep: word(numbers, readerAt), otherAsleep: word(numbers, writerAt), wakeOther: wakeOther, bell: b,
	}}
	closed := word(numbers, closedAt)
	r.awake = func() bool {
		ended := closed.Load() != 0 // read before the counter: the writer writes nothing after it has set this
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
	if r.poll() {
		return r.take(p)
	}
	slept := r.sleep()
	if n, err := r.take(p); n > 0 || err != nil { // data that has come by now is returned before the error
		return n, err
	}
	return 0, slept
}

// poll waits for a reason to wake, for a short time and without sleeping. It reports whether there is one.
func (r *ringReader) poll() bool {
	if !r.mayPoll() {
		return false
	}
	for begun := time.Now(); time.Since(begun) < pollTime; {
		runtime.Gosched()
		if r.look() {
			r.fails = 0
			return true
		}
	}
	r.skips = 1 << r.fails
	r.fails = min(r.fails+1, mostFails)
	return false
}

// mayPoll reports whether polling is worth a try.
func (r *ringReader) mayPoll() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone || r.soon == nil || !r.soon() {
		return false
	}
	if r.skips > 0 {
		r.skips--
		return false
	}
	return true
}

// look reports whether there is a reason to wake.
func (r *ringReader) look() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over != nil || r.awake()
}

// take copies data that has come into p. If there is none, it returns 0, and the error that ended the ring, if any.
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

// expire ends Read once it has read all that has been written by now. It ignores the time: when the stream ends, all that the worker sent lies in the ring.
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
	failed func(error) // called with an error if the other end breaks the protocol
	before func()      // called before data is written, with mu held; may be nil
}

var _ sink = (*ringWriter)(nil)

// newRingWriter returns the writing end of a ring whose counters and data lie in these parts of the memory.
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

// room returns how many bytes can be written.
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
	if w.before != nil {
		w.before()
	}
	m := copy(w.data[w.at%ringBytes:], b[:n])
	copy(w.data, b[m:n])
	w.moved(n)
	return b[n:], nil
}

func (w *ringWriter) awaitRoom() error { return w.sleep() }

func (w *ringWriter) expire(at time.Time) { _ = w.bell.file.SetReadDeadline(at) }

// Close tells the reader that no more data comes, and ends awaitRoom.
func (w *ringWriter) Close() error {
	w.mu.Lock()
	if !w.gone {
		set(w.closed, 1)
		w.wake()
	}
	w.mu.Unlock()
	w.stop(os.ErrClosed)
	return w.bell.file.Close()
}
