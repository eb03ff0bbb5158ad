package sdktest

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/parhost/parhost/internal/conform"
	"github.com/parhost/parhost/internal/inprocess"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/sdk"
)

// starter returns a function that starts workers of w inside this process.
func starter(tb testing.TB, w sdk.AnyWorkload) conform.Starter {
	tb.Helper()
	return func(context.Context) (*conform.Worker, error) {
		l := bufconn.Listen(wire.BufferBytes)
		log, complaint := &testLog{tb: tb}, &conform.Complaint{}
		logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: w.Manifest().Name, Output: log, Level: hclog.Debug, DisableTime: true})
		logger.RegisterSink(complaint)
		gone, stop := inprocess.Serve(w, l, logger)
		conn, err := grpc.NewClient("passthrough:///worker",
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<31-1)),
			grpc.WithInitialWindowSize(wire.WindowBytes),
			grpc.WithInitialConnWindowSize(wire.WindowBytes),
		)
		if err != nil {
			stop()
			return nil, err
		}
		kill := sync.OnceFunc(func() {
			_ = conn.Close()
			stop()
			<-gone
			log.close()
		})
		return &conform.Worker{Service: workerpb.NewWorkerServiceClient(conn), Gone: gone, Kill: kill, Torn: complaint.Err}, nil
	}
}

// testLog writes the workload's log lines to the test's log. A test panics if something logs to it after its end, so close drops later lines.
type testLog struct {
	mu sync.Mutex
	tb testing.TB // nil after the worker has ended
}

func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tb != nil {
		l.tb.Logf("%s", line)
	}
	return len(line), nil
}

func (l *testLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tb = nil
}
