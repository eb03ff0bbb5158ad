package sdk_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/parhost/parhost/internal/inprocess"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/sdk"
)

// BenchmarkStream measures the round trip of a batch to the workload over a unix socket, without a host's bookkeeping and without a second process:
// what remains is gRPC and the SDK. window is the number of batches in flight.
func BenchmarkStream(b *testing.B) {
	same := sdk.Func("same", func(_ context.Context, x float64) (float64, error) { return x, nil })
	for _, c := range []struct{ items, window int }{{1, 1}, {1, 64}, {1000, 1}, {1000, 2}} {
		b.Run(fmt.Sprintf("items=%d/window=%d", c.items, c.window), func(b *testing.B) {
			stream := openStream(b, same)
			column := make([]byte, 8*c.items)
			id := uint64(0)
			send := func() {
				id++
				if err := stream.Send(&workerpb.WorkRequest{Message: &workerpb.WorkRequest_Batch{Batch: &workerpb.Batch{
					Id: id, Count: uint32(c.items), Format: workerpb.Format_FORMAT_PACKED, Items: column,
				}}}); err != nil {
					b.Fatal(err)
				}
			}
			receive := func() {
				r, err := stream.Recv()
				if err != nil {
					b.Fatal(err)
				}
				if got := r.GetResults(); int(got.GetCount()) != c.items || !got.GetLast() {
					b.Fatalf("got %v, want the results of %d items", r, c.items)
				}
			}
			for range c.window {
				send()
			}
			b.ReportAllocs()
			for b.Loop() {
				receive()
				send()
			}
			for range c.window {
				receive()
			}
			b.ReportMetric(float64(c.items*b.N)/b.Elapsed().Seconds(), "items/s")
		})
	}
}

// openStream opens the Work stream of a worker in this process.
func openStream(b *testing.B, w sdk.AnyWorkload) workerpb.WorkerService_WorkClient {
	b.Helper()
	listener, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	gone, stop := inprocess.Serve(w, listener, hclog.NewNullLogger())
	conn, err := grpc.NewClient("unix:"+listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(wire.WindowBytes), grpc.WithInitialConnWindowSize(wire.WindowBytes),
		grpc.WithReadBufferSize(wire.BufferBytes), grpc.WithWriteBufferSize(wire.BufferBytes))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		conn.Close()
		stop()
		<-gone
	})
	stream, err := workerpb.NewWorkerServiceClient(conn).Work(context.WithoutCancel(b.Context()))
	if err != nil {
		b.Fatal(err)
	}
	if err := stream.Send(&workerpb.WorkRequest{Message: &workerpb.WorkRequest_Start{Start: &workerpb.Start{Worker: 1, Threads: 1}}}); err != nil {
		b.Fatal(err)
	}
	if r, err := stream.Recv(); err != nil || r.GetReady() == nil {
		b.Fatalf("got %v, %v, want Ready", r, err)
	}
	return stream
}
