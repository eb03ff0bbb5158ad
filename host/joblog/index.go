package joblog

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// index finds the records of a journal by the identities of their items. Several records may have the same identity, because [seen] forgets items;
// these records are claimed in the order in which their items came in the input.
type index struct {
	entries []entry
	table   []int32 // hash table of 2^k slots: 0 is empty, otherwise the number, from 1, of the first entry in the chain of that identity
}

// entry is one record.
type entry struct {
	id    id
	place int64 // offset of the record's line, shifted left by one; the lowest bit says whether the item failed
	n     int64
	link  int64 // until build: the item's index in its input; afterwards: the number, from 1, of the next entry with the same identity, 0 if none
}

func (e *entry) at() int64     { return e.place >> 1 }
func (e *entry) failed() bool  { return e.place&1 != 0 }
func (e *entry) move(at int64) { e.place = at<<1 | e.place&1 }

// add adds the record whose line begins at the offset at.
func (x *index) add(h *head, at int64) {
	e := entry{id: h.key.of(h.occurrence), place: at << 1, n: h.n, link: h.index}
	if h.failed {
		e.place |= 1
	}
	x.entries = append(x.entries, e)
}

// dropRepeated keeps only the last record of each number and returns how many it dropped. The kept records are in the order of their numbers.
func (x *index) dropRepeated() int {
	inOrder := func(a, b entry) int { return cmp.Compare(a.n, b.n) }
	if !slices.IsSortedFunc(x.entries, inOrder) {
		slices.SortStableFunc(x.entries, inOrder)
	}
	kept := x.entries[:0]
	for _, e := range x.entries {
		if last := len(kept) - 1; last >= 0 && kept[last].n == e.n {
			kept[last] = e
		} else {
			kept = append(kept, e)
		}
	}
	dropped := len(x.entries) - len(kept)
	x.entries = kept
	return dropped
}

// build makes the table. No entry can be added afterwards.
func (x *index) build() {
	byPlace := func(a, b entry) int { return cmp.Or(cmp.Compare(a.link, b.link), cmp.Compare(a.n, b.n)) }
	slices.SortFunc(x.entries, byPlace)
	size := 1
	for size < 2*len(x.entries) {
		size *= 2
	}
	x.table = make([]int32, size)
	for i := range slices.Backward(x.entries) { // backwards, so that the first entry becomes the head of its chain
		e := &x.entries[i]
		slot := x.find(&e.id)
		e.link = int64(*slot)
		*slot = int32(i + 1)
	}
}

// find returns the slot of an identity, or the empty slot where it belongs.
func (x *index) find(i *id) *int32 {
	mask := uint64(len(x.table) - 1)
	for at := binary.LittleEndian.Uint64(i[:]) & mask; ; at = (at + 1) & mask {
		slot := &x.table[at]
		n := *slot
		if n < 0 { // all records of the identity are claimed; -n still tells which identity it is
			n = -n
		}
		if n == 0 || x.entries[n-1].id == *i {
			return slot
		}
	}
}

// claim returns the next unclaimed record of an identity. It returns false if there is none.
func (x *index) claim(i id) (entry, bool) {
	slot := x.find(&i)
	if *slot <= 0 {
		return entry{}, false
	}
	e := x.entries[*slot-1]
	if e.link != 0 {
		*slot = int32(e.link)
	} else {
		*slot = -*slot
	}
	return e, true
}
