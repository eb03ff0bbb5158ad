package host

import (
	"math"
	"os"
	"sync"
	"sync/atomic"

	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/wire"
)

// arenaBytes is the address space of one worker's arena: 64 MiB where addresses have 32 bits. Memory is taken only where something has
// been put.
const arenaBytes = min(1<<30, math.MaxInt/32+1)

// The arenas of a pool share keepBytes, but none has less than keepLeast, which a batch or two need: so much of each stays in memory once
// everything has been taken from it. What lies behind goes back to the system.
const (
	keepBytes = 64 << 20
	keepLeast = 4 << 20
)

// shelf is the host's side of a worker's arena: it alone says what lies where.
type shelf struct {
	arena *arena.Arena
	file  *os.File // what the worker inherits
	slots *arena.Slots
	keep  int // bytes that stay in memory

	releasing atomic.Bool // memory is on its way back to the system

	mu     sync.Mutex
	held   int  // lendings under way
	high   int  // the end of the furthest slot since the arena was last empty
	closed bool // to be unmapped when nothing is held
}

// openShelf makes an arena of which keep bytes stay in memory, or returns nil where there is no means to: everything then travels in
// messages.
func openShelf(keep int) *shelf {
	a, file, err := arena.New(arenaBytes)
	if err != nil {
		return nil
	}
	return &shelf{arena: a, file: file, slots: arena.NewSlots(arenaBytes), keep: keep}
}

// lending is the memory of one batch: its items' column, and room for its results.
type lending struct {
	items, room arena.Slot
}

// lend takes slots for a column of size bytes and for results, either of which may come to nothing when there is no room.
func (s *shelf) lend(items, results int) lending {
	var l lending
	if s == nil || items < wire.ArenaBytes && results < wire.ArenaBytes {
		return l
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.releasing.Load() {
		return l
	}
	if items >= wire.ArenaBytes {
		l.items, _ = s.slots.Take(items)
	}
	l.room, _ = s.slots.Take(results)
	if l == (lending{}) { // no room at all: there is nothing to give back
		return l
	}
	s.held++
	s.high = max(s.high, l.items.Offset+l.items.Size, l.room.Offset+l.room.Size)
	return l
}

// memory returns the bytes of a slot, nil if it is none.
func (s *shelf) memory(slot arena.Slot) []byte {
	if s == nil || slot.Size == 0 {
		return nil
	}
	return s.arena.Slot(slot)
}

// giveBack takes a lending back, when the worker has no more to do with it or is dead.
func (s *shelf) giveBack(l lending) {
	if l == (lending{}) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots.Give(l.items)
	s.slots.Give(l.room)
	s.held--
	switch {
	case s.held > 0:
	case s.closed:
		_ = s.arena.Close()
	case s.high > s.keep:
		s.high = 0
		s.releasing.Store(true)
		patiently(func() { // the system call waits for whoever writes to the file, which the worker can do for as long as it likes
			_ = s.arena.Release(s.file, s.keep) // costs memory alone if it fails
			s.releasing.Store(false)
		})
	}
}

// close unmaps the arena as soon as nobody holds a part of it. The worker must be dead.
func (s *shelf) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.releasing.Load() {
		return // a number that is given away meanwhile would be another file's
	}
	_ = s.file.Close()
	if s.held == 0 {
		_ = s.arena.Close()
	}
}
