package arena_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parhost/parhost/internal/arena"
)

const size = 1 << 20

func TestWhatOneMappingWritesTheOtherReads(t *testing.T) {
	host, file := newArena(t)
	worker, err := arena.Map(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	slot, ok := arena.NewSlots(size).Take(100)
	if !ok {
		t.Fatal("no slot of 100 bytes in an empty arena")
	}
	copy(host.Slot(slot), "item")
	got, err := worker.Bytes(uint64(slot.Offset), 4)
	if err != nil || string(got) != "item" {
		t.Fatalf("got %q, %v, want item", got, err)
	}
	copy(got, "done")
	if string(host.Slot(slot)[:4]) != "done" {
		t.Errorf("got %q, want done", host.Slot(slot)[:4])
	}
}

func TestTheSizeIsFinal(t *testing.T) {
	_, file := newArena(t)
	for name, n := range map[string]int64{"smaller": size / 2, "larger": 2 * size} {
		if err := file.Truncate(n); err == nil {
			t.Errorf("making an arena %s: got no error, want one", name)
		}
	}
}

func TestMapRefusesWhatIsNotSealed(t *testing.T) {
	_, file := newArena(t)
	if _, err := arena.Map(int(file.Fd()) + 1000); err == nil {
		t.Error("mapping no file: got no error, want one")
	}
}

func TestBytesStayAmongTheSlots(t *testing.T) {
	a, _ := newArena(t)
	for name, c := range map[string]struct {
		offset, n uint64
		ok        bool
	}{
		"all":               {arena.DataOffset, size - arena.DataOffset, true},
		"none at the end":   {size, 0, true},
		"the black box":     {0, 8, false},
		"over the end":      {size - 8, 9, false},
		"behind the end":    {size + 1, 0, false},
		"a sum that wraps":  {arena.DataOffset, 1<<64 - arena.DataOffset, false},
		"an offset at most": {1<<64 - 1, 1, false},
	} {
		got, err := a.Bytes(c.offset, c.n)
		if (err == nil) != c.ok || c.ok && uint64(len(got)) != c.n {
			t.Errorf("%s: got %d bytes and %v", name, len(got), err)
		}
	}
	var none *arena.Arena
	if _, err := none.Bytes(arena.DataOffset, 1); err == nil {
		t.Error("bytes of no arena: got no error, want one")
	}
}

func TestReleasedMemoryReadsAsZeros(t *testing.T) {
	a, file := newArena(t)
	b, err := a.Bytes(8<<10, size-8<<10)
	if err != nil {
		t.Fatal(err)
	}
	b[0], b[len(b)-1] = 7, 7
	rest, err := a.Release(file, 8<<10, size, func() bool { return true })
	if err != nil || rest != 8<<10 {
		t.Fatalf("got %d, %v, want all from %d on", rest, err, 8<<10)
	}
	if b[0] != 0 || b[len(b)-1] != 0 {
		t.Errorf("got %d and %d, want 0", b[0], b[len(b)-1])
	}
}

// One system call of a release visits all mappings of its pages and cannot be interrupted. A worker can make many mappings.
func TestAReleaseIsStoppedBetweenSmallSteps(t *testing.T) {
	a, file := newArena(t)
	all, err := a.Bytes(arena.DataOffset, size-arena.DataOffset)
	if err != nil {
		t.Fatal(err)
	}
	all[0] = 7
	const most = 64 << 10
	last, steps := size, 0
	rest, err := a.Release(file, arena.DataOffset, size, func() bool { steps++; return steps <= 3 })
	if err != nil || rest < last-3*most || rest >= last {
		t.Errorf("three steps: got as far as %d, %v, want from %d to %d", rest, err, last-3*most, last-1)
	}
	if all[0] != 7 {
		t.Error("memory below the last step is gone")
	}
}

func TestBlackBoxIsSeenFromOutside(t *testing.T) {
	host, file := newArena(t)
	worker, err := arena.Map(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	last := arena.MaxThreads - 1
	worker.Entry(last).Begin(12)
	worker.Entry(last).Place().Item.Store(34)
	worker.Entry(last).Place().Since.Store(56)
	if batch, item, since := host.Entry(last).Read(); batch != 12 || item != 34 || since.UnixNano() != 56 {
		t.Errorf("got batch %d and item %d since %v, want 12 and 34 since 56 ns", batch, item, since)
	}
	worker.Entry(last).End()
	if batch, _, _ := host.Entry(last).Read(); batch != 0 {
		t.Errorf("after the end: got batch %d, want none", batch)
	}
	if host.Entry(arena.MaxThreads) != nil || host.Entry(-1) != nil {
		t.Error("a thread beyond the page has an entry")
	}
}

// Slots never overlap, never leave the arena, and merge into one free extent when all have been given back.
func TestSlotsAreDisjoint(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	s := arena.NewSlots(size)
	var held []arena.Slot
	for range 20_000 {
		if rnd.IntN(2) == 0 && len(held) > 0 {
			i := rnd.IntN(len(held))
			s.Give(held[i])
			held = slices.Delete(held, i, i+1)
			continue
		}
		want := 1 + rnd.IntN(20_000)
		slot, ok := s.Take(want)
		if !ok {
			continue
		}
		if slot.Size < want || slot.Offset < arena.DataOffset || slot.Offset+slot.Size > size || slot.Offset%64 != 0 {
			t.Fatalf("slot of %d bytes: got %+v", want, slot)
		}
		for _, h := range held {
			if slot.Offset < h.Offset+h.Size && h.Offset < slot.Offset+slot.Size {
				t.Fatalf("slots %+v and %+v overlap", slot, h)
			}
		}
		held = append(held, slot)
	}
	for _, h := range held {
		s.Give(h)
	}
	if _, ok := s.Take(size - arena.DataOffset); !ok || s.Used() != size-arena.DataOffset {
		t.Error("the whole arena cannot be taken after everything was given back")
	}
	if _, ok := s.Take(1); ok {
		t.Error("a slot of a full arena: got one, want none")
	}
}

func BenchmarkBlackBox(b *testing.B) {
	a, _ := newArena(b)
	item := &a.Entry(0).Place().Item
	for i := 0; b.Loop(); i++ {
		item.Store(uint64(i))
	}
}

func BenchmarkTakeAndGive(b *testing.B) {
	s := arena.NewSlots(size)
	for b.Loop() {
		slot, _ := s.Take(100 << 10)
		s.Give(slot)
	}
}
