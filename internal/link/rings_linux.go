package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/arena"
)

// The layout of the memory of a link's rings: offsets in bytes, and its size.
const (
	usedAt    = 0   // 1 if the worker uses the rings
	soonAt    = 64  // 1 if the host expects that messages follow soon
	downAt    = 512 // counters of the ring to the worker; those of the ring to the host lie at upAt
	upAt      = 1024
	dataAt    = 4096 // data of the ring to the worker, followed by the data of the ring to the host
	ringsSize = dataAt + 2*ringBytes
)

// rings is one side's view of two ring buffers in shared memory, one for each direction.
//
// The two sides share no lock, and no file at which one could make the other block. The host waits in its poller for an eventfd, which it never
// reads or writes, because a worker can change an eventfd so that reads and writes block. The host wakes the worker by a byte over a socket of
// which the host has an end of its own.
type rings struct {
	memory []byte
	in     *ringReader
	out    *ringWriter
	unmap  sync.Once
}

// Offer makes rings. It returns the files with which the other end can [Link.Take] them: the memory, and the eventfds by which the other end wakes
// this one for data and for room. Offer must be called before the link is used.
func (l *Link) Offer() (_ []*os.File, err error) {
	memory, file, err := arena.NewRings(ringsSize)
	if err != nil {
		return nil, err
	}
	theirs, ours := []*os.File{file}, []*os.File{}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Munmap(memory))
			for _, f := range append(theirs, ours...) {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	var bells [2]bell
	for i := range bells {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) // the poller accepts only non-blocking files
		if err != nil {
			return nil, fmt.Errorf("eventfd: %w", err)
		}
		ours = append(ours, os.NewFile(uintptr(fd), "bell"))
		copied, err := watched(uintptr(fd))
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, copied)
		if bells[i], err = newBell(ours[i], false); err != nil {
			return nil, err
		}
	}
	data, err := byteTo(l.files.out.file)
	if err != nil {
		return nil, err
	}
	room, err := byteTo(l.files.in)
	if err != nil {
		return nil, err
	}
	l.rings = newRings(memory, upAt, downAt, bells, data, room)
	l.rings.in.soon = l.MayPoll
	if l.Soon != nil {
		l.rings.out.before = tellSoon(word(memory, soonAt), l.Soon)
	}
	return theirs, nil
}

// tellSoon returns a function that tells the worker whether messages follow soon.
func tellSoon(word *atomic.Uint32, soon func() bool) func() {
	return func() {
		now := uint32(0)
		if soon() {
			now = 1
		}
		if word.Load() != now { // each store moves the cache line between CPUs
			word.Store(now)
		}
	}
}

// byteTo returns a function that writes a byte to a non-blocking file. If the file is full, the byte is not needed: the bytes in it wake the reader.
func byteTo(file *os.File) (func(), error) {
	raw, err := file.SyscallConn()
	one := []byte{1}
	say := func(fd uintptr) { _, _ = write(fd, one) }
	return func() { _ = raw.Control(say) }, err
}

// Take makes the link use rings. The arguments are inherited file descriptors: of the memory, and of the eventfds by which this end wakes the other
// for data and for room. Take must be called before the link is used. It closes memory.
func (l *Link) Take(memory, data, room int) error {
	m, err := arena.MapRings(memory, ringsSize)
	err = errors.Join(err, unix.Close(memory)) // the mapping stays
	if err != nil {
		return err
	}
	forData, err := newBell(l.files.in, true)
	if err != nil {
		return errors.Join(err, unix.Munmap(m))
	}
	var out *os.File
	failed := l.files.out.raw.Control(func(fd uintptr) { out, err = watched(fd) })
	if err = errors.Join(failed, err); err != nil {
		return errors.Join(err, unix.Munmap(m))
	}
	forRoom, err := newBell(out, true)
	if err != nil {
		return errors.Join(err, unix.Munmap(m), out.Close())
	}
	l.rings = newRings(m, downAt, upAt, [2]bell{forData, forRoom}, eventTo(data), eventTo(room))
	soon := word(m, soonAt)
	l.rings.in.soon = func() bool { return soon.Load() != 0 }
	word(m, usedAt).Store(1)
	l.useRings()
	return nil
}

// eventTo returns a function that writes 1 to an eventfd, which wakes the other end.
func eventTo(fd int) func() {
	unix.CloseOnExec(fd)
	one := binary.NativeEndian.AppendUint64(nil, 1)
	return func() { _, _ = write(uintptr(fd), one) }
}

// newRings returns one side of the rings. It reads the ring whose counters lie at in, and writes the ring whose counters lie at out. The bells wake
// this side for data and for room; wakeForData and wakeForRoom wake the other side.
func newRings(memory []byte, in, out int, bells [2]bell, wakeForData, wakeForRoom func()) *rings {
	data := func(numbers int) []byte {
		if numbers == downAt {
			return memory[dataAt : dataAt+ringBytes]
		}
		return memory[dataAt+ringBytes : ringsSize]
	}
	r := &rings{memory: memory}
	r.in = newRingReader(memory[in:], data(in), bells[0], wakeForRoom)
	r.out = newRingWriter(memory[out:], data(out), bells[1], wakeForData)
	r.out.failed = r.in.stop
	return r
}

// close ends all calls that wait at the rings, and unmaps the memory. It may be called more than once, and on nil.
func (r *rings) close() {
	if r == nil {
		return
	}
	_ = r.out.Close()
	r.in.close()
	r.in.leave()
	r.out.leave()
	r.unmap.Do(func() { _ = unix.Munmap(r.memory) })
}

// adoptRings makes the host use the rings if the worker does, and closes them otherwise.
func (l *Link) adoptRings() {
	switch {
	case l.rings == nil:
	case word(l.rings.memory, usedAt).Load() == 0:
		l.rings.close()
	default:
		l.useRings()
	}
}

func (l *Link) useRings() {
	l.in, l.out = l.rings.in, l.rings.out
	l.reader.Reset(l.in)
}
