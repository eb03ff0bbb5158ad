package arena

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// The black box is the arena's first page. Each thread of a worker has an entry of one cache line there. The worker writes it, and the host reads
// it without a message, also after the worker's death.
//
//	byte 0   batch   uint64  id of the running batch, 0 when none runs
//	byte 8   item    uint64  place in the batch of the running item
//	byte 16  since   uint64  time of the thread's last clock reading before it began the item, in nanoseconds since 1970
const (
	entryBytes = 64
	// DataOffset is the offset of the first slot.
	DataOffset = 4096
	// MaxThreads is the number of threads that can have an entry. The first cache line of the page is reserved.
	MaxThreads = DataOffset/entryBytes - 1
)

// Entry is one thread's entry in the black box.
type Entry struct {
	batch atomic.Uint64
	place Place
	_     [entryBytes - 24]byte
}

// Place is the part of an entry that changes during a batch. The thread stores Item for each item, and Since whenever it reads the clock anyway.
type Place struct {
	Item  atomic.Uint64
	Since atomic.Uint64
}

// Begin records that the thread runs a batch, starting with its first item.
func (e *Entry) Begin(batch uint64) {
	e.place.Item.Store(0)
	e.batch.Store(batch)
}

// Place returns the part of the entry that the thread updates while it runs a batch.
func (e *Entry) Place() *Place { return &e.place }

// End records that the thread runs no batch.
func (e *Entry) End() { e.batch.Store(0) }

// Read returns the entry's values. A faulty worker may have written any values.
func (e *Entry) Read() (batch, item uint64, since time.Time) {
	return e.batch.Load(), e.place.Item.Load(), e.place.When()
}

// When returns Since as a time.
func (p *Place) When() time.Time { return time.Unix(0, int64(p.Since.Load())) }

// Entry returns the entry of a thread, counted from 0, or nil if the thread has none.
func (a *Arena) Entry(thread int) *Entry {
	if a == nil || thread < 0 || thread >= MaxThreads {
		return nil
	}
	return (*Entry)(unsafe.Pointer(&a.mem[(1+thread)*entryBytes]))
}
