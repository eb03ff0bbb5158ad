package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/session"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/protocol"
)

// FuzzResults gives the host any message that a worker may send as results of a batch whose column lies in the arena. The host must accept them, or refuse them
// as a lie. It must read nothing outside the room, and give no item more than one outcome.
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
	shared := openArena(arenaBytes, keepLeast)
	if shared == nil {
		f.Skip("no arena here")
	}
	f.Cleanup(shared.close)
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
		w := &Worker{options: &Options{}, arena: shared, shared: true, session: work}
		memory := shared.allocate(8<<10, 8<<10)
		defer shared.free(memory)
		b := &numbers{t: t}
		w.send(t.Context(), b, b.Size(), nil, memory, worker.Places{}, 0)
		_ = work.Receive(nil)
	})
}

// numbers is a batch of three numbers. It checks that no item gets more than one outcome.
type numbers struct {
	t      *testing.T
	done   int
	failed [3]bool
}

func (b *numbers) First() int               { return 0 }
func (b *numbers) Size() int                { return 3 }
func (b *numbers) Done() int                { return b.done }
func (b *numbers) Options() *worker.Options { return &worker.Options{} }

func (b *numbers) Slices(bool) (items, results any, ok bool) { return nil, nil, false }
func (b *numbers) Store(int, int, any, int)                  {}

func (b *numbers) InBuffers(int, func([]byte) (uint64, bool)) (worker.Places, int) {
	return worker.Places{}, b.Size()
}
func (b *numbers) EncodedSize(int, int, int) (items, results int) { return 0, 0 }
func (b *numbers) Encode(int, int, int, []byte) ([]byte, int, *protocol.ItemError) {
	return nil, b.Size(), nil
}

func (b *numbers) Decode(_, n int, column []byte) error {
	if len(column) != 8*n {
		return fmt.Errorf("a column of %d bytes for %d numbers", len(column), n)
	}
	sum := byte(0)
	for _, c := range column { // a read beyond the arena would end the test here
		sum += c
	}
	return nil
}

func (b *numbers) Copies() bool { return true }

func (b *numbers) Fail(at int, _ *protocol.ItemError) {
	if at < b.done || at >= b.Size() || b.failed[at] {
		b.t.Fatalf("item %d fails, of 3 items of which %d have an outcome", at, b.done)
	}
	b.failed[at] = true
}

func (b *numbers) RequestCredit(int, chan<- worker.Credit) {}

func (b *numbers) Complete(n int, _ worker.Info, _ time.Duration, _ []uint64, _ []protocol.Usage) {
	if b.done += n; b.done > b.Size() {
		b.t.Fatalf("3 items have %d outcomes", b.done)
	}
}

// script is a worker's service whose stream returns the given messages, and reads nothing.
type script []*workerpb.WorkResponse

func (s *script) Describe(context.Context, *workerpb.DescribeRequest, ...grpc.CallOption) (*workerpb.DescribeResponse, error) {
	return nil, errors.ErrUnsupported
}

func (s *script) Stack(context.Context, *workerpb.StackRequest, ...grpc.CallOption) (*workerpb.StackResponse, error) {
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
