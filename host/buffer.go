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

// Number is what a [Buffer] holds: what travels as it lies in memory.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// Buffer is memory of a pool to build large items in. An item of the pool that is a slice of it is not brought to a worker: the worker
// looks at it where it lies. Make one with [NewBuffer].
//
// Slice is the caller's to read and write. It, or any part of it, is an item from the moment in which it is handed to [Map], [Do],
// [Stream] or a function like these until its result is there, or the call has ended: for that long the caller must only read
// it, because a worker does, and may do so again after a crash. Several items may overlap. Workers can never write there. All of them can
// read all of the pool's buffers.
//
// A Buffer outlives its pool: Slice is memory like any other then.
type Buffer[T Number] struct {
	// Slice is the memory, nil after Free.
	Slice []T

	buffers *buffers
	slot    *arena.Slot // the same in all copies
}

// NewBuffer returns a buffer of n zeros that items for p can be built in.
//
// Where no memory can be shared (in modes [Goroutine] and [Sequential], with Config.Inline, on other systems than Linux, on a Linux
// older than 5.1, where Config.BufferBytes is more than an eighth of what a limit of address space, ulimit -v, exceeds 2 GiB by) it is ordinary memory, and so is a buffer to every pool but its own: items in it are brought to the workers like any
// others. The same goes for workers that do not map it, which a plugin need not.
//
// The error matches [ErrNoRoom] if the pool's buffers would take more than Config.BufferBytes, and is [ErrClosed], or a
// [*BrokenError], once the pool takes no more work.
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

// Free gives the memory back, for other buffers: items in it must have their results. Slice is nil from then on, and a part of it that
// somebody has kept must not be used: it holds other buffers' values or zeros, and a worker would compute from these. Free may be called
// twice.
//
// The system gets the memory back when the pool has ended and all its buffers have been freed. A buffer that is never freed
// keeps it for as long as the program runs.
func (b *Buffer[T]) Free() {
	b.Slice = nil
	b.buffers.give(b.slot)
}

// ErrNoRoom matches the error of [NewBuffer] when the pool's buffers are as large as Config.BufferBytes lets them be.
var ErrNoRoom = errors.New("no room in one piece")

// buffers is the host's side of a pool's buffers. Where no memory can be shared it only counts, so that the limit is the same.
type buffers struct {
	limit  int
	memory *arena.Buffers // nil if they are ordinary memory
	file   *os.File       // what workers inherit; nil likewise
	slots  *arena.Slots

	mapped atomic.Bool // workers look at items where they lie

	mu     sync.Mutex
	high   int  // the end of the furthest slot that was ever taken: what lies behind is still zero
	closed bool // none is made any more
	ended  bool // the pool has
	gone   bool // the memory is the system's again
}

// openBuffers makes the memory for a pool's buffers. Where there is no means to, and if it is not to be shared, they are ordinary memory;
// then the error says why.
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

// take takes a slot of size bytes. The memory is nil if it is the caller's to make.
func (b *buffers) take(size int) ([]byte, arena.Slot, error) {
	slot, used, err := b.reserve(size)
	if err != nil || b.memory == nil {
		return nil, slot, err
	}
	memory := b.memory.Slot(slot)
	clear(memory[:used])
	return memory, slot, nil
}

// reserve takes a slot, and says how many of its bytes may not be zero.
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

// refuse makes no buffers any more.
func (b *buffers) refuse() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

// close is called when no worker is left.
func (b *buffers) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.ended = true, true
	if b.file != nil {
		_ = b.file.Close()
	}
	b.release()
}

// release gives the memory to the system once nobody has a right to it. Called with mu held.
func (b *buffers) release() {
	if b.ended && b.memory != nil && !b.gone && b.slots.Used() == 0 {
		b.gone = true
		_ = b.memory.Close(b.high) // costs memory alone if it fails
	}
}

// mostPlaces items go into one message: their places take up to 20 bytes each, and messages are bounded.
const mostPlaces = 1 << 16

// InBuffers is part of [worker.Batch].
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
	for _, v := range in[:min(len(in), mostPlaces)] {
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
		if i == 0 { // it goes along, or nothing would
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

// lighten makes items that lie in the pool's buffers weigh nothing: they are not brought to the workers, and who made them has
// bounded them.
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
