package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/pulse"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// Options are the settings that the workers of a pool have in common.
type Options struct {
	Plugin   string // the plugin's name for people
	Workload string // name that the plugin's workload must have; empty if any will do
	Child    child.Options
	Workers  int  // workers of the pool, which share the memory for arenas
	Threads  int  // batches that a worker runs at once; 0 means the manifest's number
	Inline   bool // nothing goes through shared memory or channels
	Poll     bool // host and worker may poll for messages: there is more than one CPU for them

	StartTimeout time.Duration // time from exec to the manifest
	SetupTimeout time.Duration // time limit of the workload's set-up
	Grace        time.Duration // time from asking an item or a worker to end, to killing it

	MaxResultBytes  int                        // bytes of one result
	MaxMessageBytes int                        // bytes of one message of a worker
	CheckResponse   func(message []byte) error // refuses a message that would take many times its size in memory

	Buffers     *arena.Buffers // the pool's buffers; nil if there are none
	BuffersFile *os.File       // the file of the buffers that workers inherit; nil if there is none
	BuffersUsed func()         // called when a worker has mapped them

	CPUShare func(workers int) []string               // returns environment variables that limit each of this many workers to its share of the CPUs
	Progress func(worker, item int, fraction float64) // gets the progress that items report
	Logger   hclog.Logger                             // gets the workers' output
	Pulse    *pulse.Pulse                             // knows the times in which this process did not run
}

// Launcher starts the worker processes of one pool.
type Launcher struct {
	Children *child.Launcher

	options  Options
	starting *semaphore.Weighted // held by processes that are starting
}

// Open opens the executable and makes everything that the workers share. The errors are those of [child.Open].
func Open(ctx context.Context, o Options) (*Launcher, error) {
	children, err := child.Open(ctx, o.Child)
	if err != nil {
		return nil, err
	}
	return &Launcher{Children: children, options: o, starting: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0)))}, nil
}

// Close releases everything. All workers must be gone.
func (l *Launcher) Close() { l.Children.Close() }

// Processes that start all at once become ready all at once, and late. One starting process for each CPU keeps the CPUs busy, and the first workers run items
// while the last ones start. A process that takes longer than startTime to start waits for something other than the CPU, so the next one may start.
const startTime = 100 * time.Millisecond

// waitToStart waits for this process's turn to start. The caller calls end when the start is over.
func (l *Launcher) waitToStart(ctx context.Context) (end func(), err error) {
	if l.starting.Acquire(ctx, 1) != nil {
		return nil, context.Cause(ctx)
	}
	var once sync.Once
	give := func() { once.Do(func() { l.starting.Release(1) }) }
	late := time.AfterFunc(startTime, give)
	return func() {
		late.Stop()
		give()
	}, nil
}

// client returns go-plugin's client for a process that has not been started yet.
func (l *Launcher) client(c *child.Process) *plugin.Client {
	return plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{wire.Version: {wire.PluginName: servicePlugin{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
		StartTimeout:     l.options.StartTimeout + time.Hour, // the host's own limit comes first, even if it excludes pauses of this process
		SkipHostEnv:      true,
		AutoMTLS:         child.UsesTCP, // AutoMTLS takes 40 ms for each start, and a socket in a private folder does not need it
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: l.Children.Folder.Path()},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, sockets string) (runner.Runner, error) {
			return c, c.Prepare(spec.Env, sockets)
		},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.Dial(ctx) }),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(l.options.MaxMessageBytes), grpc.ForceCodecV2(newCodec(l.options.CheckResponse))),
			grpc.WithInitialWindowSize(wire.WindowBytes),
			grpc.WithInitialConnWindowSize(wire.WindowBytes),
			grpc.WithReadBufferSize(wire.BufferBytes),
			grpc.WithWriteBufferSize(wire.BufferBytes),
			grpc.WithUnaryInterceptor(describeOnly),
			grpc.WithStreamInterceptor(workOnly),
		},
	})
}

// describeOnly bounds the answer of Describe, the only call beside the stream. It also suppresses go-plugin's Shutdown call. That call has no deadline, so a
// plugin that does not answer would block its host forever. Workers end when their stream does, or are killed.
func describeOnly(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if strings.HasPrefix(method, "/plugin.GRPCController/") {
		return nil
	}
	return invoke(ctx, method, req, reply, cc, append(opts, grpc.MaxCallRecvMsgSize(wire.MaxManifestBytes))...)
}

// workOnly refuses go-plugin's own streams. The host does not use them, and they wait for a plugin's answer without a deadline.
func workOnly(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if strings.HasPrefix(method, "/plugin.") {
		return nil, status.Error(codes.Unimplemented, "parhost hosts do not use "+method)
	}
	return open(ctx, desc, cc, method, opts...)
}

// servicePlugin is the worker service in the form that go-plugin dispenses.
type servicePlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (servicePlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, cc *grpc.ClientConn) (any, error) {
	return workerpb.NewWorkerServiceClient(cc), nil
}

func (servicePlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("a host serves no plugin")
}

// guarded turns a panic in go-plugin into an error. go-plugin parses what a plugin says, and the host must not die of that.
func guarded[T any](call func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("go-plugin panicked: %v", p)
		}
	}()
	return call()
}
