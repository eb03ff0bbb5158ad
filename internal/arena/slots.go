package arena

import (
	"slices"
	"sync"
)

// Slot is a part of an arena or of buffers that the host has handed out. The zero Slot has no memory.
type Slot struct {
	Offset, Size int // bytes from the beginning of the memory; multiples of slotAlign
}

// slotAlign keeps slots of different batches in different cache lines, and aligns every number type.
const slotAlign = 64

// Slots hands out the memory of one arena, or of one pool's buffers. It takes the first free extent that fits, in order of address, so that few
// pages are in use, at the beginning of the memory. Slots lives in the host's own memory, which no worker can reach.
type Slots struct {
	mu   sync.Mutex
	free []Slot // sorted by offset; no two of them touch
	used int    // bytes handed out
}

// NewSlots returns the slots of an arena or buffers of size bytes.
func NewSlots(size int) *Slots {
	return &Slots{free: []Slot{{Offset: DataOffset, Size: (size - DataOffset) &^ (slotAlign - 1)}}}
}

// Take hands out size bytes. It returns false if no free extent is large enough.
func (s *Slots) Take(size int) (Slot, bool) {
	size = (max(size, 1) + slotAlign - 1) &^ (slotAlign - 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.free, func(f Slot) bool { return f.Size >= size })
	if i < 0 {
		return Slot{}, false
	}
	got := Slot{Offset: s.free[i].Offset, Size: size}
	if s.free[i].Size == size {
		s.free = slices.Delete(s.free, i, i+1)
	} else {
		s.free[i].Offset += size
		s.free[i].Size -= size
	}
	s.used += size
	return got, true
}

// Give takes a slot back. Each slot must be given back once.
func (s *Slots) Give(slot Slot) {
	if slot.Size == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= slot.Size
	i, _ := slices.BinarySearchFunc(s.free, slot, func(a, b Slot) int { return a.Offset - b.Offset })
	joinsLeft := i > 0 && s.free[i-1].Offset+s.free[i-1].Size == slot.Offset
	joinsRight := i < len(s.free) && slot.Offset+slot.Size == s.free[i].Offset
	switch {
	case joinsLeft && joinsRight:
		s.free[i-1].Size += slot.Size + s.free[i].Size
		s.free = slices.Delete(s.free, i, i+1)
	case joinsLeft:
		s.free[i-1].Size += slot.Size
	case joinsRight:
		s.free[i].Offset -= slot.Size
		s.free[i].Size += slot.Size
	default:
		s.free = slices.Insert(s.free, i, slot)
	}
}

// Used returns the number of bytes that are handed out.
func (s *Slots) Used() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}
