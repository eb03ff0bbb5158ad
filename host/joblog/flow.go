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

// Bounds of what a stream holds: an endless input runs in constant memory.
const (
	mostItems  = 1 << 17  // read, and their results not yielded
	heldBytes  = 32 << 20 // of results that wait for their turn; those beyond it are read again from the file
	groupItems = 512      // yielded between two looks at the rest
)

// flow brings the results of the workers and those of the journal together, in the order of the input if that is wanted.
//
//	items ─ enter ┬─ no record ─ Config.Run ───── finish ─ record ─┐
//	              └─ a record ──────────────────────────────────── slots ─ take ─ show
//
// The items are read by host's goroutine, the results by one of the stream, and they are yielded by a third: a reader of results who is
// slow does not keep finished work from being written.
type flow struct {
	journal *Journal
	ordered bool
	fresh   bool // the journal was empty

	mu      sync.Mutex
	room    sync.Cond     // another item may be read
	ready   sync.Cond     // there may be something to take
	seen    seen          // items
	sent    queue[errand] // items that workers have; their numbers are those of the pool's run
	counted int           // number of the first in sent whose occurrence is not known
	again   map[int]int64 // numbers of records that are to be replaced, by the item's number in sent
	slots   queue[slot]   // ordered: from the next one to be taken on, by the items' numbers; else those that are not pending
	indexes queue[int]    // unordered: the items of the slots
	results []result      // of slots that are ready
	free    []int32       // places in results
	held    int           // bytes of results
	chunk   []byte        // where the next small values go that wait for their turn
	entered int           // items
	taken   int           // results, and shown
	blocked bool          // somebody waits for room
	waiting bool          // somebody waits for ready
	over    bool          // no more items are wanted
	ended   bool          // no more results will come
	err     error         // why that was early
}

// errand is an item that a worker has. It is small, as slots are: there is one for each item that waits to be run.
type errand struct {
	key        digest
	index      int
	occurrence uint32
	back       bool
}

// slot is the place of a result.
type slot struct {
	at    int64 // where the record is; -1 if there is none
	held  int32 // ready: the place in flow.results
	state state
}

type state uint8

const (
	pending  state = iota // a worker has the item
	ready                 // the result is there
	filed                 // it is to be read from the journal
	replayed              // likewise, and was there from the beginning
)

// answer is a slot that has been taken.
type answer struct {
	slot
	index int
}

func newFlow(j *Journal, ordered bool) *flow {
	f := &flow{journal: j, ordered: ordered, fresh: len(j.index.entries) == 0, seen: newSeen(), again: map[int]int64{}}
	f.room.L, f.ready.L = &f.mu, &f.mu
	return f
}

// run runs what has no result, and returns why that ended early.
func (f *flow) run(ctx context.Context, p *host.Pool, items iter.Seq[json.RawMessage]) error {
	ctx = host.WithSeed(ctx, f.journal.Seed())
	if !f.fresh {
		ctx = host.WithIndex(ctx, f.index)
	}
	// Nothing is recorded before it is known that the origin is the pool's. Items run meanwhile.
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

// index returns the place in the whole input of an item that workers have.
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

// enter gives the next item its place, and reports whether it is to be run, and whether more are wanted.
func (f *flow) enter(key digest) (run, wanted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.entered-f.taken >= mostItems && !f.over {
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

// countItems are counted together, which takes less time.
const countItems = 64

// count finds out which occurrences the items are that were sent last. Called with mu held.
func (f *flow) count() {
	for n := f.counted; n < f.sent.next; n++ {
		f.seen.touch(&f.sent.at(n).key)
	}
	for ; f.counted < f.sent.next; f.counted++ {
		item := f.sent.at(f.counted)
		item.occurrence = f.seen.count(&item.key)
	}
}

// put adds a slot behind the others. Called with mu held.
func (f *flow) put(index int, s slot) {
	f.slots.push(s)
	if !f.ordered {
		f.indexes.push(index)
	}
	if f.slots.size() == 1 {
		f.wake()
	}
}

// wake tells whoever waits for results to look again. Called with mu held.
func (f *flow) wake() {
	if f.waiting {
		f.waiting = false
		f.ready.Signal()
	}
}

// finish records what became of an item, and puts it in its place.
func (f *flow) finish(r *result) {
	full := f.place(r)
	if full {
		_ = f.journal.flush() // whoever wants the results will hear of it
	}
}

// place is finish, and reports whether records should be written.
func (f *flow) place(r *result) (full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.back(r.Index)
	index := int(h.index)
	if r.Err != nil && r.Index != index {
		e := *r.Err // observers may have the other
		e.Index, r.Err = index, &e
	}
	r.Index = index
	s := slot{at: -1, state: ready}
	if oneLine(r) && (r.Err == nil || r.Err.Kind != host.Canceled) {
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

// chunkBytes is how much memory small values share that wait for their turn.
const chunkBytes = 16 << 10

// own copies a value out of the memory of its batch: a small result that waits for its turn would keep the large ones of the batch in memory, which
// are not counted because they are read again from the file. Called with mu held.
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

// hold keeps a result in memory, and returns its place there. Called with mu held.
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

// release frees the places of results that have been shown. Called with mu held.
func (f *flow) release(group []answer) {
	for i := range group {
		if a := &group[i]; a.state == ready {
			f.held -= weight(&f.results[a.held])
			f.results[a.held] = result{}
			f.free = append(f.free, a.held)
		}
	}
}

// weight is what a result holds in memory beside its own size.
func weight(r *result) int { return len(r.Value) + wire.Weight(r.Err) }

// back takes an item back from the workers, and returns how its record begins. Called with mu held.
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

// end says that no more results will come, and why if that is early.
func (f *flow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended, f.over, f.err = true, true, err
	f.room.Broadcast()
	f.wake()
}

// take moves what is there into group, up to its capacity, and waits for the first if need be. It returns an empty group when there
// is no more. What group held before has been shown.
//
// The results that are ready are in results, at their places, until the next call: more may be put into free places meanwhile, also of
// a longer slice that takes over from this one.
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

// show yields the results of a group, and reports whether more are wanted.
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

// read returns the result of what was taken from the file.
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
