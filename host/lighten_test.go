package host

import (
	"context"
	"slices"
	"testing"
	"unsafe"

	"github.com/parhost/parhost/protocol"
)

func TestItemsInBuffersAreNotCutByTheirBytes(t *testing.T) {
	b, err := openBuffers(16<<20, true)
	if err != nil {
		t.Skip("no buffers here: ", err)
	}
	defer b.close()
	pool := &Pool{
		cfg:     Config{Mode: ModeProcess, Workers: 2, Batch: 8},
		buffers: b, manifest: protocol.Manifest{ItemKind: "[]float64", ResultKind: "float64"},
	}
	memory, slot, err := b.take(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer b.give(&slot)
	lying := unsafe.Slice((*float64)(unsafe.Pointer(unsafe.SliceData(memory))), len(memory)/8)
	for name, c := range map[string]struct {
		mapped bool
		all    []float64
		want   int
	}{
		"in buffers":                         {true, lying, 8},
		"in buffers that no worker looks at": {false, lying, 1},
		"the caller's own":                   {true, make([]float64, len(lying)), 1},
	} {
		b.mapped.Store(c.mapped)
		r, _ := newRun[[]float64, float64](context.Background(), pool, true)
		defer r.end(errTaken)
		r.feedSlice(slices.Collect(slices.Chunk(c.all, len(c.all)/8))) // 2 MiB each
		if got := r.next().Size(); got != c.want {
			t.Errorf("%s: got a batch of %d items, want %d", name, got, c.want)
		}
	}
}
