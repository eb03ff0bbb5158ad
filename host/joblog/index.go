package joblog

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// index finds the records of a journal by the identities of their items. Where several have the same one, for [seen] forgets, they are
// claimed in the order in which their items came in the input.
type index struct {
	entries []entry
	table   []int32 // slots: 0 is empty, else the number, from 1, of the entry at the head of its identity's chain; a power of two long
}

// entry is one record.
type entry struct {
	id    id
	place int64 // where its line begins, and in the lowest bit whether the item failed
	n     int64
	link  int64 // while reading: the item's place in its input; then the number, from 1, of the next entry of the same identity
}

func (e *entry) at() int64     { return e.place >> 1 }
func (e *entry) failed() bool  { return e.place&1 != 0 }
func (e *entry) move(at int64) { e.place = at<<1 | e.place&1 }

// add takes a record up whose line begins at a place.
func (x *index) add(h *head, at int64) {
	e := entry{id: h.key.of(h.occurrence), place: at << 1, n: h.n, link: h.index}
	if h.failed {
		e.place |= 1
	}
	x.entries = append(x.entries, e)
}

// dropRepeated drops the records whose numbers come again, and returns how many these are. The others are then in the order of their numbers.
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

// build makes the table. Nothing can be added any more.
func (x *index) build() {
	byPlace := func(a, b entry) int { return cmp.Or(cmp.Compare(a.link, b.link), cmp.Compare(a.n, b.n)) }
	slices.SortFunc(x.entries, byPlace)
	size := 1
	for size < 2*len(x.entries) {
		size *= 2
	}
	x.table = make([]int32, size)
	for i := range slices.Backward(x.entries) { // from the last, so that the first becomes the head
		e := &x.entries[i]
		slot := x.find(&e.id)
		e.link = int64(*slot)
		*slot = int32(i + 1)
	}
}

// find returns the slot of an identity, or the empty one where it belongs.
func (x *index) find(i *id) *int32 {
	mask := uint64(len(x.table) - 1)
	for at := binary.LittleEndian.Uint64(i[:]) & mask; ; at = (at + 1) & mask {
		slot := &x.table[at]
		n := *slot
		if n < 0 { // all claimed; the number says whose
			n = -n
		}
		if n == 0 || x.entries[n-1].id == *i {
			return slot
		}
	}
}

// claim returns the next record of an identity, if there is one left.
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
