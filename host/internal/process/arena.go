package process

import (
	"math"
	"os"
	"sync"
	"time"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/wire"
)

// arenaBytes is the size of a worker's arena if address space is not limited. It is 64 MiB on 32-bit systems. Pages take memory only once they are used.
const arenaBytes = min(1<<30, math.MaxInt/32+1)

// keepBytes is how much memory the empty arenas of a pool keep together. keepLeast is the minimum for each arena, which one or two batches need. An arena gives
// memory beyond its share back to the system when nothing in it is in use.
const (
	keepBytes = 64 << 20
	keepLeast = 4 << 20
)

// sharedArena is the host's side of a worker's arena. Only the host decides what lies where.
type sharedArena struct {
	arena *arena.Arena
	file  *os.File // the file that the worker inherits
	slots *arena.Slots
	size  int // bytes of address space
	keep  int // bytes that stay in memory while nothing is in use

	mu        sync.Mutex
	held      int  // allocations in use
	high      int  // end of the part that may have memory: of the furthest slot since the last release
	releasing bool // memory is being given back to the system; nothing is allocated meanwhile
	closed    bool // the arena is to be unmapped when nothing is held
	gone      bool // the arena is being unmapped, or has been
}

// arenaSize returns the size of one worker's arena, in bytes, for a pool with this number of workers.
func arenaSize(workers int) int {
	page := int64(os.Getpagesize())
	return int(min(arenaBytes, arena.Share()/int64(workers)/page*page))
}

// openArena makes an arena of size bytes. When the arena is empty, it keeps at most keep bytes of memory. openArena returns nil if the system cannot share
// memory. All items and results then travel in messages.
func openArena(size, keep int) *sharedArena {
	if size < keep { // this share of a small address space is too small to be useful
		return nil
	}
	a, file, err := arena.New(size)
	if err != nil {
		return nil
	}
	return &sharedArena{arena: a, file: file, slots: arena.NewSlots(size), size: size, keep: keep}
}

// allocation is the memory of one call: the column of its items, and room for its results.
type allocation struct {
	items, room arena.Slot
}

// allocate takes memory for a column of items bytes, and for results of results bytes. Either slot is empty if there is no room for it.
func (s *sharedArena) allocate(items, results int) allocation {
	var l allocation
	if s == nil || items < wire.ArenaBytes && results < wire.ArenaBytes {
		return l
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.releasing {
		return l
	}
	if items >= wire.ArenaBytes {
		l.items, _ = s.slots.Take(items)
	}
	l.room, _ = s.slots.Take(results)
	if l == (allocation{}) { // there was no room at all, so there is nothing to give back
		return l
	}
	s.held++
	s.high = max(s.high, l.items.Offset+l.items.Size, l.room.Offset+l.room.Size)
	return l
}

// memory returns the bytes of a slot, or nil for an empty slot.
func (s *sharedArena) memory(slot arena.Slot) []byte {
	if s == nil || slot.Size == 0 {
		return nil
	}
	return s.arena.Slot(slot)
}

// free takes an allocation back, when the worker no longer uses it or is dead.
func (s *sharedArena) free(l allocation) {
	if l == (allocation{}) {
		return
	}
	s.mu.Lock()
	s.slots.Give(l.items)
	s.slots.Give(l.room)
	s.held--
	release := s.held == 0 && !s.closed && s.high > s.keep
	s.releasing = release // s.releasing was false before: nothing is allocated while it is true
	s.mu.Unlock()
	if release {
		child.Bounded(s.release) // the system call waits for processes that write to the file, and the worker can make it wait for as long as it likes
		return
	}
	s.unmap()
}

// releaseTime bounds the time for giving a worker's memory back to the system. An honest worker's GiB takes less. Memory that is left then is given back the
// next time.
const releaseTime = 2 * time.Second

// release gives memory back to the system, until the arena is closed. A failure only keeps the memory.
func (s *sharedArena) release() {
	s.mu.Lock()
	high := s.high
	s.mu.Unlock()
	begun := time.Now()
	rest, err := s.arena.Release(s.file, s.keep, high, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.closed && time.Since(begun) < releaseTime
	})
	s.mu.Lock()
	s.high, s.releasing = rest, false
	if err != nil {
		s.high = 0
	}
	s.mu.Unlock()
	s.unmap()
}

// close unmaps the arena as soon as no part of it is held. The worker must be dead.
func (s *sharedArena) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.unmap()
}

// unmap unmaps a closed arena, and closes its file, if they are no longer used. Both can block, because a process that the worker has left behind may hold the
// kernel's lock of the arena's mappings.
func (s *sharedArena) unmap() {
	s.mu.Lock()
	now := s.closed && s.held == 0 && !s.releasing && !s.gone
	s.gone = s.gone || now
	s.mu.Unlock()
	if now {
		child.Bounded(func() { _, _ = s.file.Close(), s.arena.Close() })
	}
}
