package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/arena"
)

// Where what lies in the memory of a link's rings.
const (
	usedAt    = 0   // 1 if the worker uses the rings
	downAt    = 512 // numbers of the ring to the worker
	upAt      = 1024
	dataAt    = 4096 // of the ring to the worker, and behind that of the other one
	ringsSize = dataAt + 2*ringBytes
)

// rings are one side of two ring buffers in shared memory, one for each direction.
//
// The sides have no lock in common, and no file where one could make the other wait. The host waits in its poller for an eventfd, which it never
// reads or writes: a worker can make it one whose reads and writes wait. The host wakes the worker by a byte over a socket whose end is its own.
type rings struct {
	memory []byte
	in     *ringReader
	out    *ringWriter
	unmap  sync.Once
}

// Offer makes rings, and the files for the other end to [Link.Take] them: the memory, and the eventfds by which it wakes this end for data and
// for room. It is to be called before the link is used.
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
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) // the poller takes only such files
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
	return theirs, nil
}

// byteTo returns a function that writes a byte to a file which does not wait. If there is no room, there are bytes enough.
func byteTo(file *os.File) (func(), error) {
	raw, err := file.SyscallConn()
	one := []byte{1}
	say := func(fd uintptr) { _, _ = write(fd, one) }
	return func() { _ = raw.Control(say) }, err
}

// Take has the messages go over rings, of which these are the inherited file descriptors: the memory, and the eventfds for data and for room. It is to
// be called before the link is used. Memory is closed.
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
	word(m, usedAt).Store(1)
	l.useRings()
	return nil
}

// eventTo returns a function that writes to an eventfd.
func eventTo(fd int) func() {
	unix.CloseOnExec(fd)
	one := binary.NativeEndian.AppendUint64(nil, 1)
	return func() { _, _ = write(uintptr(fd), one) }
}

// newRings returns the side that reads the ring whose numbers lie at in, and writes the one whose numbers lie at out. It is woken by two bells for data and
// for room, and wakes the other side for data and for room.
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

// close ends whatever waits at the rings. It may be called more than once, and of no rings.
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

// adoptRings has the host use the rings if the worker does.
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
