package joblog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"sync"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/plain"
	"github.com/parhost/parhost/internal/wire"
)

// Limits on what a stream holds, so that an endless input runs in constant memory.
const (
	maxItems   = 1 << 17  // items that have been read and whose results have not been yielded
	heldBytes  = 32 << 20 // bytes of results that wait for their turn; results beyond it are read again from the file
	groupItems = 512      // results that are yielded before the stream looks for new ones
)

// flow merges the results of the workers with the results in the journal, in the order of the input if ordered is set.
//
//	items ─ enter ┬─ no record ─ Config.Run ───── finish ─ record ─┐
//	              └─ a record ──────────────────────────────────── slots ─ take ─ show
//
// One goroutine of the host reads the items, one goroutine of the stream reads the results of the workers, and the caller's goroutine yields them. So
// a caller who is slow does not delay the writing of finished results.
type flow struct {
	journal *Journal
	ordered bool
	fresh   bool // the journal was empty when it was opened

	mu      sync.Mutex
	room    sync.Cond     // signaled when another item may be read
	ready   sync.Cond     // signaled when a result may be ready to take
	seen    seen          // counts equal items of the input
	sent    queue[errand] // items that workers have; an item's number here is its index in the pool's run
	counted int           // number of the first item in sent whose occurrence has not been counted
	again   map[int]int64 // record numbers to reuse for items that run again, by the item's number in sent
	slots   queue[slot]   // if ordered, one for each item from the next one to yield on, numbered by the item's index; otherwise only slots that are not pending
	indexes queue[int]    // if not ordered, the item index of each slot
	results []result      // results of the slots in state ready
	free    []int32       // free places in results
	held    int           // bytes of the results in results
	chunk   []byte        // buffer to which small values are copied while they wait for their turn
	entered int           // number of items read so far
	taken   int           // number of results taken and yielded so far
	blocked bool          // a goroutine waits on room
	waiting bool          // a goroutine waits on ready
	over    bool          // no more items are wanted
	ended   bool          // no more results will come
	err     error         // why the results ended early; nil if they did not
}

// errand is an item that a worker has. It must stay small, because there is one for each item that waits to run.
type errand struct {
	key        digest
	index      int
	occurrence uint32
	back       bool
}

// slot is the place of one item's result. It must stay small, because there is one for each item in progress.
type slot struct {
	at    int64 // offset of the record in the file; -1 if there is none
	held  int32 // index in flow.results; only in state ready
	state state
}

type state uint8

const (
	pending  state = iota // a worker has the item
	ready                 // the result is in flow.results
	filed                 // the result was recorded in this run and must be read from the file
	replayed              // the result was in the journal when it was opened, and must be read from the file
)

// answer is a slot that has been taken to be yielded.
type answer struct {
	slot
	index int
}

func newFlow(j *Journal, ordered bool) *flow {
	f := &flow{journal: j, ordered: ordered, fresh: len(j.index.entries) == 0, seen: newSeen(), again: map[int]int64{}}
	f.room.L, f.ready.L = &f.mu, &f.mu
	return f
}

// run runs the items that have no result in the journal. It returns an error if the run ended early.
func (f *flow) run(ctx context.Context, p *host.Pool, items iter.Seq[json.RawMessage]) error {
	ctx = host.WithSeed(ctx, f.journal.Seed())
	if !f.fresh {
		ctx = host.WithIndex(ctx, f.index)
	}
	// Check the origin while the first items run. No result is recorded before the pool is known to have the journal's origin.
	check := make(chan error, 1)
	go func() { check <- f.journal.config.Origin.Check(p) }()
	wait := sync.OnceValue(func() error { return <-check })
	for r, err := range f.journal.config.Run(ctx, p, f.unfinished(items)) {
		if other := wait(); other != nil {
			return other
		}
		if err != nil {
			return err
		}
		f.finish(&r)
	}
	return wait()
}

// index returns the index in the whole input of an item that a worker has. number is the item's number in sent.
func (f *flow) index(number int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent.at(number).index
}

// unfinished yields the items that have no result in the journal.
func (f *flow) unfinished(items iter.Seq[json.RawMessage]) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for item := range items {
			run, wanted := f.enter(keyOf(item))
			if !wanted || run && !yield(item) {
				return
			}
		}
	}
}

// enter adds the next item. run reports whether the item must run on a worker, and wanted whether the caller should go on reading items.
func (f *flow) enter(key digest) (run, wanted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.entered-f.taken >= maxItems && !f.over {
		f.blocked = true
		f.room.Wait()
	}
	if f.over {
		return false, false
	}
	item := errand{key: key, index: f.entered}
	f.entered++
	if f.fresh {
		f.sent.push(item)
		if f.sent.next-f.counted == countItems {
			f.count()
		}
	} else {
		item.occurrence = f.seen.count(&key)
		e, found := f.journal.index.claim(key.of(item.occurrence))
		switch again := f.journal.config.RetryFailed && e.failed(); {
		case found && again:
			f.again[f.sent.next] = e.n
		case found:
			f.put(item.index, slot{at: e.at(), state: replayed})
			return false, true
		}
		f.sent.push(item)
		f.counted = f.sent.next
	}
	if f.ordered {
		f.slots.push(slot{})
	}
	return true, true
}

// countItems is the number of items that count handles together. That is faster than one by one, because touch prefetches the memory for all of them.
const countItems = 64

// count finds the occurrence of each item in sent that has not been counted yet. The caller must hold mu.
func (f *flow) count() {
	for n := f.counted; n < f.sent.next; n++ {
		f.seen.touch(&f.sent.at(n).key)
	}
	for ; f.counted < f.sent.next; f.counted++ {
		item := f.sent.at(f.counted)
		item.occurrence = f.seen.count(&item.key)
	}
}

// put appends a slot. The caller must hold mu.
func (f *flow) put(index int, s slot) {
	f.slots.push(s)
	if !f.ordered {
		f.indexes.push(index)
	}
	if f.slots.size() == 1 {
		f.wake()
	}
}

// wake wakes the goroutine that waits for results, if there is one. The caller must hold mu.
func (f *flow) wake() {
	if f.waiting {
		f.waiting = false
		f.ready.Signal()
	}
}

// finish records the result of an item and stores it in the item's slot.
func (f *flow) finish(r *result) {
	full := f.place(r)
	if full {
		_ = f.journal.flush() // a write error also ends the stream, so its caller gets the error there
	}
}

// place does what finish does, except that it only reports whether the gathered records should be written now.
func (f *flow) place(r *result) (full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.back(r.Index)
	index := int(h.index)
	if r.Err != nil && r.Index != index {
		e := *r.Err // copy the error, because observers may hold the original
		e.Index, r.Err = index, &e
	}
	r.Index = index
	s := slot{at: -1, state: ready}
	if oneLine(r) && (r.Err == nil || r.Err.Kind != host.KindCanceled) {
		s.at, full = f.journal.record(&h, r)
	}
	size := weight(r)
	next := f.slots.size() == 0 || f.ordered && f.slots.first == index
	if s.at >= 0 && !next && f.held+size > heldBytes && readable(r) {
		s.state = filed
	} else {
		if !next {
			r.Value = f.own(r.Value)
		}
		f.held += size
		s.held = f.hold(r)
	}
	switch {
	case !f.ordered:
		f.put(index, s)
	default:
		*f.slots.at(index) = s
		if next {
			f.wake()
		}
	}
	return full
}

// chunkBytes is the size of the buffers that small values share while they wait for their turn.
const chunkBytes = 16 << 10

// own copies a value out of the memory of its batch. Otherwise a small result that waits for its turn would keep the large results of its batch in
// memory, and these do not count towards heldBytes because they are read again from the file. The caller must hold mu.
func (f *flow) own(value []byte) []byte {
	if len(value) > chunkBytes/4 {
		return bytes.Clone(value)
	}
	if len(value) > cap(f.chunk)-len(f.chunk) {
		f.chunk = make([]byte, 0, chunkBytes)
	}
	from := len(f.chunk)
	f.chunk = append(f.chunk, value...)
	return f.chunk[from:len(f.chunk):len(f.chunk)]
}

// hold stores a result in f.results and returns its index there. The caller must hold mu.
func (f *flow) hold(r *result) int32 {
	if last := len(f.free) - 1; last >= 0 {
		place := f.free[last]
		f.free = f.free[:last]
		f.results[place] = *r
		return place
	}
	f.results = append(f.results, *r)
	return int32(len(f.results) - 1)
}

// release frees the entries in f.results of results that have been yielded. The caller must hold mu.
func (f *flow) release(group []answer) {
	for i := range group {
		if a := &group[i]; a.state == ready {
			f.held -= weight(&f.results[a.held])
			f.results[a.held] = result{}
			f.free = append(f.free, a.held)
		}
	}
}

// weight returns the bytes of memory that a result holds besides the struct itself.
func weight(r *result) int { return len(r.Value) + wire.Weight(r.Err) }

// back marks an item as returned from the workers and returns the head of its record. The caller must hold mu.
func (f *flow) back(number int) head {
	if number >= f.counted {
		f.count()
	}
	item := f.sent.at(number)
	item.back = true
	h := head{n: -1, key: item.key, occurrence: item.occurrence, index: int64(item.index)}
	if len(f.again) > 0 {
		if n, ok := f.again[number]; ok {
			h.n = n
			delete(f.again, number)
		}
	}
	for f.sent.size() > 0 && f.sent.at(f.sent.first).back {
		f.sent.pop()
	}
	return h
}

// end says that no more results will come. err is why they ended early, or nil.
func (f *flow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended, f.over, f.err = true, true, err
	f.room.Broadcast()
	f.wake()
}

// take releases the group that was yielded and returns the next group of results, at most cap(shown) of them. It waits until there is at least one.
// The group is empty when no more results will come.
//
// The results in state ready stay in the returned results, at their indexes, until the next call of take. Meanwhile other goroutines may fill free
// entries, and append may replace f.results by a longer slice.
func (f *flow) take(shown []answer) (group []answer, results []result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release(shown)
	f.taken += len(shown)
	if f.blocked && len(shown) > 0 {
		f.blocked = false
		f.room.Broadcast()
	}
	group = shown[:0]
	for {
		for len(group) < cap(group) && f.slots.size() > 0 && f.slots.at(f.slots.first).state != pending {
			a := answer{index: f.slots.first}
			if !f.ordered {
				a.index = f.indexes.pop()
			}
			a.slot = f.slots.pop()
			group = append(group, a)
		}
		if len(group) > 0 || f.ended {
			return group, f.results
		}
		f.waiting = true
		f.ready.Wait()
	}
}

// show yields the results of a group and reports whether the caller wants more.
func (f *flow) show(group []answer, results []result, from *window, yield func(result, error) bool) bool {
	for i := range group {
		a := &group[i]
		if a.state == ready {
			if !yield(results[a.held], nil) {
				return false
			}
			continue
		}
		r, err := f.read(a, from)
		if !yield(r, err) || err != nil {
			return false
		}
	}
	return true
}

// read reads the result of a taken slot from the file.
func (f *flow) read(a *answer, from *window) (result, error) {
	line, err := from.line(a.at)
	if err == nil {
		if _, r, ok := parseRecord(line); ok {
			r.Index = a.index
			if r.Err != nil {
				r.Err.Index = a.index
			}
			if a.state == replayed {
				f.journal.replayed.Add(1)
			}
			return r, nil
		}
		err = fmt.Errorf("the record at byte %d has changed since it was read", a.at)
	}
	return result{}, fmt.Errorf("read joblog %q: %w", f.journal.config.Path, plain.Cause(err))
}
