package arena

import (
	"sync/atomic"
	"unsafe"
)

// The black box is the arena's first page. Each thread of a worker has an entry of one cache line there, which the worker writes
// and the host reads: without a message, and after the worker's death.
//
//	byte 0   batch   uint64  the batch that runs, 0 when none does
//	byte 8   item    uint64  the place in the batch of the item that runs
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
	item  atomic.Uint64
	_     [entryBytes - 16]byte
}

// Begin says that the thread runs a batch, from its first item on.
func (e *Entry) Begin(batch uint64) {
	e.item.Store(0)
	e.batch.Store(batch)
}

// Item is where the thread keeps the place in the batch of the item that it runs: one store for each item.
func (e *Entry) Item() *atomic.Uint64 { return &e.item }

// End says that the thread runs nothing.
func (e *Entry) End() { e.batch.Store(0) }

// Read returns what the thread says of itself: any values at all, if the worker lies.
func (e *Entry) Read() (batch, item uint64) { return e.batch.Load(), e.item.Load() }

// Entry returns the line of a thread, counted from 0, or nil if it has none.
func (a *Arena) Entry(thread int) *Entry {
	if a == nil || thread < 0 || thread >= MaxThreads {
		return nil
	}
	return (*Entry)(unsafe.Pointer(&a.mem[(1+thread)*entryBytes]))
}
