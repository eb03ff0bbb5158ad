package joblog

import "encoding/binary"

// seen counts how often items have come before, in bounded memory: it may forget an item when genItems others have come since. Of two
// equal items that far apart both may count as the first; then the one that comes first claims the record of the one that came first.
//
// What it says depends on the items and their order alone: an input that is read again gets the same numbers. Make one with newSeen.
type seen struct {
	young, old generation
	touched    uint64 // of no meaning: what is read must be used
}

// genItems is more than a stream holds, so that it can tell equal items apart which are under way together.
const genItems = 2 * mostItems

// generation is a hash table of how often keys have come, at most half full.
//
// A slot is small, because to reach it takes longer than all else: it has half of the hash, which together with the place is enough
// to know a key by, and the count, which is 0 only where the slot is free.
type generation struct {
	slots []uint64
	used  int
}

const (
	genSlots  = 2 * genItems
	countMask = 1<<32 - 1
)

func newSeen() seen {
	return seen{young: generation{slots: make([]uint64, genSlots)}, old: generation{slots: make([]uint64, genSlots)}}
}

// count returns how often a key has come before.
func (s *seen) count(key *digest) uint32 {
	hash := binary.LittleEndian.Uint64(key[:])
	slot := s.young.find(hash)
	if *slot == 0 {
		before := uint64(0)
		if s.old.used > 0 {
			before = *s.old.find(hash) & countMask
		}
		if s.young.used == genItems {
			s.young, s.old = s.old, s.young
			clear(s.young.slots)
			s.young.used = 0
			slot = s.young.find(hash)
		}
		*slot = hash&^countMask | before
		s.young.used++
	}
	*slot++
	return uint32(*slot) - 1
}

// touch brings what count will look at into the processor's caches. From several keys that takes hardly longer than from one.
func (s *seen) touch(key *digest) {
	at := binary.LittleEndian.Uint64(key[:]) % genSlots
	s.touched += s.young.slots[at]
	if s.old.used > 0 {
		s.touched += s.old.slots[at]
	}
}

// find returns the slot of a key, or the free one where it belongs.
func (g *generation) find(hash uint64) *uint64 {
	for at := hash % genSlots; ; at = (at + 1) % genSlots {
		if slot := &g.slots[at]; *slot == 0 || (*slot^hash)&^countMask == 0 {
			return slot
		}
	}
}
