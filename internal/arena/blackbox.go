package arena

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// The black box is the arena's first page. Each thread of a worker has an entry of one cache line there, which the worker writes
// and the host reads: without a message, and after the worker's death.
//
//	byte 0   batch   uint64  the batch that runs, 0 when none does
//	byte 8   item    uint64  the place in the batch of the item that runs
//	byte 16  since   uint64  when the thread last looked at the clock before it began the item, in nanoseconds since 1970
const (
	entryBytes = 64
	// DataOffset is where the slots begin.
	DataOffset = 4096
	// MaxThreads is the number of threads that have an entry; the first line of the page is reserved.
	MaxThreads = DataOffset/entryBytes - 1
)

// Entry is one thread's line of the black box.
type Entry struct {
	batch atomic.Uint64
	place Place
	_     [entryBytes - 24]byte
}

// Place is which item of a batch runs, for others to see: one store for each item, and another when the clock has been looked at
// anyway.
type Place struct {
	Item  atomic.Uint64
	Since atomic.Uint64
}

// Begin says that the thread runs a batch, from its first item on.
func (e *Entry) Begin(batch uint64) {
	e.place.Item.Store(0)
	e.batch.Store(batch)
}

// Place is what the thread keeps while it runs a batch.
func (e *Entry) Place() *Place { return &e.place }

// End says that the thread runs nothing.
func (e *Entry) End() { e.batch.Store(0) }

// Read returns what the thread says of itself: any values at all, if the worker lies.
func (e *Entry) Read() (batch, item uint64, since time.Time) {
	return e.batch.Load(), e.place.Item.Load(), e.place.When()
}

// When is Since as a time.
func (p *Place) When() time.Time { return time.Unix(0, int64(p.Since.Load())) }

// Entry returns the line of a thread, counted from 0, or nil if it has none.
func (a *Arena) Entry(thread int) *Entry {
	if a == nil || thread < 0 || thread >= MaxThreads {
		return nil
	}
	return (*Entry)(unsafe.Pointer(&a.mem[(1+thread)*entryBytes]))
}
