package arena_test

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/parhost/parhost/internal/arena"
)

func newBuffers(t testing.TB) (*arena.Buffers, *os.File) {
	t.Helper()
	b, file, err := arena.NewBuffers(size)
	if err != nil {
		t.Skip("no buffers here: ", err)
	}
	t.Cleanup(func() {
		_ = b.Close(0)
		_ = file.Close()
	})
	return b, file
}

func TestWorkersReadBuffersAndCannotWriteThem(t *testing.T) {
	host, file := newBuffers(t)
	worker, err := arena.MapBuffers(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close(0)
	slot, _ := arena.NewSlots(size).Take(100)
	copy(host.Slot(slot), "item")
	item, err := worker.Bytes(uint64(slot.Offset), 4)
	if err != nil || string(item) != "item" {
		t.Fatalf("got %q, %v, want item", item, err)
	}
	if address := fault(func() { item[0] = 'x' }); !worker.Hold(address) || host.Hold(address) {
		t.Errorf("a worker that writes: got a fault at %#x, want one among its buffers", address)
	}
	if string(host.Slot(slot)[:4]) != "item" {
		t.Errorf("got %q, want item", host.Slot(slot)[:4])
	}
	if _, err := arena.Map(int(file.Fd())); err == nil {
		t.Error("mapping the file to write: got no error, want one")
	}
}

// fault returns the address at which f faults, or 0 if f does not fault.
func fault(f func()) (address uintptr) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if e, ok := recover().(interface{ Addr() uintptr }); ok {
			address = e.Addr()
		}
	}()
	f()
	return 0
}

func TestMapBuffersRefusesWhatCanBeWritten(t *testing.T) {
	_, file := newArena(t)
	if _, err := arena.MapBuffers(int(file.Fd())); err == nil {
		t.Error("mapping an arena as buffers: got no error, want one")
	}
}

func TestFindKnowsWhatLiesInBuffers(t *testing.T) {
	b, _ := newBuffers(t)
	all, err := b.Bytes(arena.DataOffset, size-arena.DataOffset)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bytes []byte
		at    uint64
		ok    bool
	}{
		"all":                 {all, arena.DataOffset, true},
		"an odd part":         {all[5:8], arena.DataOffset + 5, true},
		"the last byte":       {all[len(all)-1:], size - 1, true},
		"no bytes":            {all[:0], 0, false},
		"nil":                 {nil, 0, false},
		"memory of Go's own":  {make([]byte, 10), 0, false},
		"another arena's":     {other(t), 0, false},
		"the place of nobody": {(&arena.Buffers{}).Slot(arena.Slot{}), 0, false},
	} {
		if at, ok := b.Find(c.bytes); ok != c.ok || at != c.at && ok {
			t.Errorf("%s: got %d, %v, want %d, %v", name, at, ok, c.at, c.ok)
		}
	}
	var none *arena.Buffers
	if _, ok := none.Find(all); ok || none.Hold(1) {
		t.Error("no buffers hold something")
	}
	if _, err := none.Bytes(arena.DataOffset, 1); err == nil {
		t.Error("bytes of no buffers: got no error, want one")
	}
}

// other returns memory of other buffers.
func other(t *testing.T) []byte {
	t.Helper()
	b, _ := newBuffers(t)
	bytes, err := b.Bytes(arena.DataOffset, 10)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

func TestClosedBuffersReadAsZerosAsFarAsTheyWereUsed(t *testing.T) {
	b, file, err := arena.NewBuffers(size)
	if err != nil {
		t.Skip("no buffers here: ", err)
	}
	file.Close()
	used := b.Slot(arena.Slot{Offset: arena.DataOffset, Size: 100})
	used[0] = 7
	if err := b.Close(arena.DataOffset + 100); err != nil {
		t.Fatal(err)
	}
	if used[0] != 0 {
		t.Errorf("got %d, want 0: the memory has not gone", used[0])
	}
	used[0] = 8 // against the rules, but must not fault
}
