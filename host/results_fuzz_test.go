package host

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

// FuzzResults gives the host whatever a worker may send as results of a batch that lies in the arena. They are taken, or refused as
// a lie; nothing is read outside of the room, and no item gets more than one outcome.
func FuzzResults(f *testing.F) {
	for _, r := range []*workerpb.Results{
		{Batch: 1, Count: 3, RoomUsed: 24, Last: true},
		{Batch: 1, Count: 1, RoomAt: 8, RoomUsed: 8},
		{Batch: 1, Count: 3, RoomAt: 1 << 63, RoomUsed: 1 << 63, Last: true},
		{Batch: 1, Count: 3, Values: make([]byte, 24), Errors: []*workerpb.ItemError{{Item: 2, Kind: 9}}, Last: true, Leaving: true},
		{Batch: 1, From: 1, Count: 1<<32 - 1, ItemNs: []uint64{1, 2}},
	} {
		bytes, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes, bytes)
	}
	shelf := openShelf(arenaBytes, keepLeast)
	if shelf == nil {
		f.Skip("no arena here")
	}
	f.Cleanup(shelf.close)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		p := &process{cfg: &Config{Mode: Process, Workers: 1, Logger: hclog.NewNullLogger(), MaxResultBytes: 1 << 20}, calls: map[uint64]*call{}, threads: 1, shelf: shelf, shared: true}
		p.child = &child{cmd: &exec.Cmd{Process: &os.Process{}}} // results name its pid
		pool := &Pool{cfg: *p.cfg, manifest: Manifest{ItemKind: "float64", ResultKind: "float64"}}
		r, _ := newRun[float64, float64](context.Background(), pool, true)
		defer r.end(errTaken)
		r.feedSlice([]float64{1, 2, 3})
		b := &block[float64, float64]{in: []float64{1, 2, 3}, out: r.results, left: 3, cut: time.Now()}
		task := newTask(r, b)
		task.begun = time.Now()
		memory := shelf.lend(8<<10, 8<<10)
		defer shelf.giveBack(memory)
		c := &call{id: 1, b: task, count: 3, memory: memory, sent: time.Now(), done: make(chan struct{})}
		p.calls[1], p.order = c, []*call{c}
		for _, bytes := range [][]byte{first, second} {
			var m workerpb.Results
			if proto.Unmarshal(bytes, &m) != nil {
				return
			}
			if err := p.results(&m); err != nil {
				return
			}
		}
		if task.trial.done > 3 || b.left < 0 {
			t.Fatalf("3 items have %d outcomes, %d are left", task.trial.done, b.left)
		}
	})
}
