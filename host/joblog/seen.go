package joblog

import "encoding/binary"

// seen counts in bounded memory how many equal items came before an item. It may forget an item once genItems other items have come. Two equal items
// that are farther apart may then both count as the first, and the earlier of them claims the record of the earlier.
//
// The counts depend only on the items and their order: an input that is read again gets the same counts. Make one with newSeen.
type seen struct {
	young, old generation
	touched    uint64 // the value means nothing; it only keeps the compiler from removing the reads in touch
}

// genItems is more than the number of items that a stream holds, so that equal items in progress at the same time get different counts.
const genItems = 2 * maxItems

// generation is a hash table that counts keys. It is at most half full.
//
// Slots are small, because the memory access takes most of the time. A slot holds the upper half of the hash, which together with its position is
// enough to recognise a key, and the count. The count is 0 only in a free slot.
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

// count returns how many equal keys have come before.
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

// touch loads the slots that count will need into the CPU caches. Touching several keys in a row takes hardly longer than one, because the CPU
// overlaps the loads.
func (s *seen) touch(key *digest) {
	at := binary.LittleEndian.Uint64(key[:]) % genSlots
	s.touched += s.young.slots[at]
	if s.old.used > 0 {
		s.touched += s.old.slots[at]
	}
}

// find returns the slot of a key, or the free slot where it belongs.
func (g *generation) find(hash uint64) *uint64 {
	for at := hash % genSlots; ; at = (at + 1) % genSlots {
		if slot := &g.slots[at]; *slot == 0 || (*slot^hash)&^countMask == 0 {
			return slot
		}
	}
}
