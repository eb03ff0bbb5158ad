package host

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/internal/session"
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
		says := script{{Message: &workerpb.WorkResponse_Ready{Ready: &workerpb.Ready{Arena: true}}}}
		for _, bytes := range [][]byte{first, second} {
			var m workerpb.Results
			if proto.Unmarshal(bytes, &m) != nil {
				return
			}
			says = append(says, &workerpb.WorkResponse{Message: &workerpb.WorkResponse_Results{Results: &m}})
		}
		work, err := session.Open(t.Context(), &says, session.Options{Start: &workerpb.Start{Threads: 1, MaxResultBytes: 1 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		p := &process{cfg: &Config{Mode: Process, Workers: 1, Logger: hclog.NewNullLogger(), MaxResultBytes: 1 << 20}, threads: 1, shelf: shelf, shared: true, session: work}
		pool := &Pool{cfg: *p.cfg, manifest: Manifest{ItemKind: "float64", ResultKind: "float64"}}
		r, _ := newRun[float64, float64](context.Background(), pool, true)
		defer r.end(errTaken)
		r.feedSlice([]float64{1, 2, 3})
		b := &block[float64, float64]{in: []float64{1, 2, 3}, out: r.results, left: 3, cut: time.Now()}
		task := newTask(r, b)
		task.begun, task.how.seed = time.Now(), &r.seed
		memory := shelf.lend(8<<10, 8<<10)
		defer shelf.giveBack(memory)
		p.post(t.Context(), task, 3, nil, memory, spread{}, 0)
		_ = work.Receive(nil)
		if task.trial.done > 3 || b.left < 0 {
			t.Fatalf("3 items have %d outcomes, %d are left", task.trial.done, b.left)
		}
	})
}

// script is a worker's service whose stream says what it is given, and reads nothing.
type script []*workerpb.WorkResponse

func (s *script) Describe(context.Context, *workerpb.DescribeRequest, ...grpc.CallOption) (*workerpb.DescribeResponse, error) {
	return nil, errors.ErrUnsupported
}

func (s *script) Work(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[workerpb.WorkRequest, workerpb.WorkResponse], error) {
	return &scriptStream{says: s}, nil
}

type scriptStream struct {
	workerpb.WorkerService_WorkClient
	says *script
}

func (s *scriptStream) Send(*workerpb.WorkRequest) error { return nil }

func (s *scriptStream) Recv() (*workerpb.WorkResponse, error) {
	if len(*s.says) == 0 {
		return nil, io.EOF
	}
	next := (*s.says)[0]
	*s.says = (*s.says)[1:]
	return next, nil
}
