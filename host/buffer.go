package host

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/wire"
)

// Number is the type of a [Buffer]'s elements: the types whose values travel as they lie in memory.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// Buffer is memory of a pool in which large items can be built. If an item of the pool is a slice of a Buffer, it is not copied to a worker: the worker reads
// it in place. Make a Buffer with [NewBuffer].
//
// The caller may read and write Slice. But Slice, or a part of it, becomes an item when it is passed to [Typed.Map], [Typed.Do], [Typed.Stream] or a method like these. It
// stays one until its result is available, or the call has ended. During that time the caller must only read it, because a worker reads it, and another worker
// may read it again after a crash. Several items may overlap. Workers can never write to buffers. All workers can read all of the pool's buffers.
//
// A Buffer outlives its pool. After the end of the pool Slice is ordinary memory.
type Buffer[T Number] struct {
	// Slice is the memory. It is nil after Free.
	Slice []T

	buffers *buffers
	slot    *arena.Slot // all copies of the Buffer share it
}

// NewBuffer returns a buffer of n zeros, in which items for p can be built.
//
// The buffer is ordinary memory if no memory can be shared: in modes [ModeGoroutine] and [ModeSequential], with Config.Inline, on systems other than Linux, on Linux
// before 5.1, and if Config.BufferBytes is more than an eighth of what a limit of address space (ulimit -v) exceeds 2 GiB by. Each buffer is also ordinary
// memory to every pool but its own, and to workers that do not map it, which a plugin does not have to do. Items in ordinary memory are copied to the workers
// like any others.
//
// The error matches [ErrNoRoom] if the pool's buffers would take more than Config.BufferBytes. It is [ErrClosed], or a [*BrokenError], once the pool takes no
// more work.
func NewBuffer[T Number](p *Pool, n int) (*Buffer[T], error) {
	size := int(unsafe.Sizeof(*new(T)))
	if n < 0 || n > math.MaxInt/size {
		return nil, fmt.Errorf("buffer of %d values of %d bytes", n, size)
	}
	memory, slot, err := p.buffers.take(n * size)
	if err != nil {
		return nil, p.scheduler.reason(err)
	}
	b := &Buffer[T]{buffers: p.buffers, slot: &slot}
	if memory == nil {
		b.Slice = make([]T, n)
	} else {
		b.Slice = unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(memory))), n)
	}
	return b, nil
}

// Free gives the memory back, for other buffers. All items in it must have their results. Free sets Slice to nil. A part of the slice that the caller has kept
// must not be used any more: it contains other buffers' values or zeros, and a worker would compute with these. Free may be called twice.
//
// The system gets the memory back when the pool has ended and all its buffers have been freed. A buffer that is never freed keeps the memory for as long as the
// program runs.
func (b *Buffer[T]) Free() {
	b.Slice = nil
	b.buffers.give(b.slot)
}

// ErrNoRoom matches the error of [NewBuffer] if Config.BufferBytes leaves no room for the buffer.
var ErrNoRoom = errors.New("no room in one piece")

// buffers is the host's side of a pool's buffers. If no memory can be shared, it only counts bytes, so that the limit is the same.
type buffers struct {
	limit  int
	memory *arena.Buffers // nil if the buffers are ordinary memory
	file   *os.File       // the file that workers inherit; nil if the buffers are ordinary memory
	slots  *arena.Slots

	mapped atomic.Bool // a worker reads items in place

	mu     sync.Mutex
	high   int  // end of the furthest slot that was ever taken; the memory behind it is still zero
	closed bool // no more buffers are made
	ended  bool // the pool has ended
	gone   bool // the memory has been given back to the system
}

// openBuffers makes the memory for a pool's buffers. If memory cannot be shared, or shared is false, the buffers are ordinary memory. If it cannot be shared,
// the error says why, and the buffers work nevertheless.
func openBuffers(limit int, shared bool) (*buffers, error) {
	page := os.Getpagesize()
	size := arena.DataOffset + min(limit, math.MaxInt-2*page-arena.DataOffset)
	b := &buffers{limit: limit, slots: arena.NewSlots(size)}
	if !shared {
		return b, nil
	}
	if space := arena.Share(); int64(size) > space {
		return b, fmt.Errorf("buffers of %d bytes (Config.BufferBytes) would take too much of a limited address space (ulimit -v): the limit is %d", size, space)
	}
	var err error
	b.memory, b.file, err = arena.NewBuffers((size + page - 1) / page * page)
	return b, err
}

// take takes a slot of size bytes. The returned memory is nil if the caller has to allocate it.
func (b *buffers) take(size int) ([]byte, arena.Slot, error) {
	slot, used, err := b.reserve(size)
	if err != nil || b.memory == nil {
		return nil, slot, err
	}
	memory := b.memory.Slot(slot)
	clear(memory[:used])
	return memory, slot, nil
}

// reserve takes a slot, and returns how many of its first bytes may not be zero.
func (b *buffers) reserve(size int) (slot arena.Slot, used int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return slot, 0, ErrClosed
	}
	slot, ok := b.slots.Take(size)
	if !ok {
		return slot, 0, fmt.Errorf("buffer of %d bytes: %w: %d bytes are taken, the limit is %d (Config.BufferBytes)", size, ErrNoRoom, b.slots.Used(), b.limit)
	}
	end := slot.Offset + slot.Size
	used = max(0, min(b.high, end)-slot.Offset)
	b.high = max(b.high, end)
	return slot, used, nil
}

// give takes a slot back.
func (b *buffers) give(slot *arena.Slot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slots.Give(*slot)
	*slot = arena.Slot{}
	b.release()
}

// refuse makes all further calls of take fail with [ErrClosed].
func (b *buffers) refuse() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

// close marks the pool as ended. It is called when no worker is left.
func (b *buffers) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.ended = true, true
	if b.file != nil {
		_ = b.file.Close()
	}
	b.release()
}

// release gives the memory back to the system once the pool has ended and all slots are free. It is called with mu held.
func (b *buffers) release() {
	if b.ended && b.memory != nil && !b.gone && b.slots.Used() == 0 {
		b.gone = true
		_ = b.memory.Close(b.high) // a failure costs only memory
	}
}

// maxPlaces is the most items in buffers that go into one message: their places take up to 20 bytes each, and messages are bounded.
const maxPlaces = 1 << 16

// InBuffers implements [worker.Batch].
func (b *batch[In, Out]) InBuffers(from int, find func(item []byte) (at uint64, ok bool)) (places worker.Places, to int) {
	in := b.in[from:]
	if b.options.JSON || !b.run.in.InPlace() {
		return worker.Places{}, b.Size()
	}
	place := func(v In) (at, size uint64, ok bool) {
		raw := b.run.in.Raw(v)
		if len(raw) > b.run.pool.cfg.MaxItemBytes {
			return 0, 0, false
		}
		at, ok = find(raw)
		return at, uint64(len(raw)), ok || len(raw) == 0
	}
	bytes := uint64(0)
	for _, v := range in[:min(len(in), maxPlaces)] {
		at, size, ok := place(v)
		if !ok {
			break
		}
		places.At, places.Size = append(places.At, at), append(places.Size, size)
		bytes += size
	}
	if bytes >= wire.ArenaBytes {
		return places, from + places.Count()
	}
	for i, v := range in {
		if i == 0 { // the first item is sent in any case, or nothing would be sent
			continue
		}
		if len(b.run.in.Raw(v)) < wire.ArenaBytes {
			continue
		}
		if _, _, ok := place(v); ok {
			return worker.Places{}, from + i
		}
	}
	return worker.Places{}, b.Size()
}

// lighten gives items that lie in the pool's buffers the weight 0: they are not copied to the workers, and Config.BufferBytes already bounds them.
func (r *run[In, Out]) lighten() {
	b := r.pool.buffers
	if r.weigh == nil || r.json || !r.in.InPlace() || !b.mapped.Load() {
		return
	}
	weigh := r.weigh
	r.weigh = func(item In) int {
		if _, ok := b.memory.Find(r.in.Raw(item)); ok {
			return 0
		}
		return weigh(item)
	}
}
