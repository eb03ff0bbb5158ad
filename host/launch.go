package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// launcher starts the worker processes of one pool, and opens the conversations with them.
type launcher struct {
	cfg      *Config
	buffers  *buffers // of the pool
	children *child.Launcher
	turns    *semaphore.Weighted // taken by processes that are starting
	killed   <-chan struct{}     // closed when the pool is to end at once
}

// openLauncher finds the executable and makes what all workers share. killed is closed when the pool is to end at once.
func openLauncher(ctx context.Context, cfg *Config, buffers *buffers, killed <-chan struct{}) (*launcher, error) {
	var path, source string // of the executable, and of the bytes that all workers execute
	var err error
	if cfg.Workload != nil {
		source, err = sandbox.Self()
		path, _ = os.Executable()
	} else {
		source, err = Find(cfg.Plugin, cfg.PluginDirs...)
		path = source
	}
	if err != nil && cfg.Workload != nil {
		return nil, &StartError{Worker: 1, Plugin: cfg.Plugin, Stage: "exec", Err: fmt.Errorf("find this program's own file: %w", err)}
	}
	if err != nil {
		return nil, err
	}
	policy := cfg.Sandbox
	policy.Workers = cfg.Workers
	children, err := child.Open(ctx, child.Options{
		Path: path, Source: source, Checksum: cfg.Checksum, Env: environment(cfg), Dir: cfg.Dir, TempDir: cfg.TempDir, Policy: policy,
		MaxOutputBytes: cfg.MaxOutputBytes, Logger: cfg.Logger, Hurry: killed,
	})
	if sockets, ok := errors.AsType[*child.SocketsError](err); ok {
		return nil, &StartError{Worker: 1, Plugin: cfg.Plugin, Stage: "sockets", Err: sockets.Err}
	}
	if err != nil {
		return nil, err
	}
	return &launcher{cfg: cfg, buffers: buffers, children: children, turns: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))), killed: killed}, nil
}

// close lets go of everything. All workers must be gone.
func (l *launcher) close() { l.children.Close() }

// passedOn are the variables of the host's environment that a worker gets, besides those of Config.Env. GORACE is for the race detector,
// under which a process waits for a second before it ends, if that does not say otherwise.
var passedOn = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM", "GORACE",
	"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "TEMP", "TMP", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", // Windows
}

// threadVariables say how many threads a runtime or a library makes for itself: of Go, OpenMP, the implementations of BLAS, numexpr, Numba, Rayon,
// Polars and Julia. TBB has none.
var threadVariables = []string{
	"GOMAXPROCS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
	"NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "JULIA_NUM_THREADS",
}

// cpuShare returns the variables that give one of so many workers its share of the CPUs, for the libraries that would otherwise take
// them all.
func cpuShare(cfg *Config, workers int) []string {
	cpus := countCPUs()
	share := strconv.Itoa(max(1, cpus/workers, min(cfg.Threads, cpus)))
	var env []string
	for _, key := range threadVariables {
		env = append(env, key+"="+share)
	}
	return env
}

// environment returns the environment of a worker process: explicit, so that no secret of the host gets into it by accident.
func environment(cfg *Config) []string {
	var env []string
	for _, key := range passedOn {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "LC_") {
			env = append(env, kv)
		}
	}
	env = append(env,
		wire.EnvMaxItemBytes+"="+strconv.Itoa(cfg.MaxItemBytes),
		wire.EnvLogLevel+"="+cfg.Logger.GetLevel().String(),
	)
	if arena.AddressSpace() > 0 { // the worker inherits the limit, and its C library would reserve 64 MiB for each thread (mallopt(3))
		env = append(env, "MALLOC_ARENA_MAX=1")
	}
	if cfg.Workload != nil {
		env = append(env, wire.EnvWorkload+"="+cfg.Workload.Manifest().Name)
	} else {
		env = append(env, wire.EnvWorkload+"="+cfg.PluginWorkload) // empty or not: a plugin that is itself a host must not take itself for a child of its own
	}
	return append(env, cfg.Env...)
}

// Processes that start all at once are ready all at once, and late. One at a time for each CPU keeps it busy, and the first ones run
// items while the last ones start. One that takes longer than startTurn waits for something else than the CPU.
const startTurn = 100 * time.Millisecond

// takeTurn waits for the turn to start a process, and returns what ends it.
func (l *launcher) takeTurn(ctx context.Context) (end func(), err error) {
	if l.turns.Acquire(ctx, 1) != nil {
		return nil, context.Cause(ctx)
	}
	var once sync.Once
	give := func() { once.Do(func() { l.turns.Release(1) }) }
	late := time.AfterFunc(startTurn, give)
	return func() {
		late.Stop()
		give()
	}, nil
}

// launch starts worker number, one of so many, and returns it ready for items. On an error nothing of it is left.
func (l *launcher) launch(ctx context.Context, number, workers int) (*process, error) {
	p, err := l.connect(ctx, number, workers)
	if err != nil {
		return nil, err
	}
	if err := p.open(ctx); err != nil {
		return nil, p.stillborn(ctx, "set-up", err)
	}
	return p, nil
}

// late is why a start ends that takes too long.
func (l *launcher) late() error {
	return fmt.Errorf("not done after %v (Config.StartTimeout)", l.cfg.StartTimeout)
}

// connect starts worker number, one of so many, and returns it described, before its set-up. On an error nothing of it is left.
func (l *launcher) connect(ctx context.Context, number, workers int) (_ *process, err error) {
	p := &process{
		number: number, cfg: l.cfg, hurry: l.killed, buffers: l.buffers, ending: make(chan struct{}), dead: make(chan struct{}),
		logger: l.cfg.Logger.Named(l.cfg.Plugin).With("worker", number),
	}
	settings := child.Settings{Number: number, Env: cpuShare(l.cfg, workers), Logger: p.logger, Item: p.printing, Flooded: p.flood}
	if !l.cfg.Inline {
		if p.shelf = openShelf(shelfBytes(max(workers, l.cfg.Workers)), max(keepLeast, keepBytes/workers)); p.shelf != nil {
			settings.Inherit(wire.EnvArena, true, p.shelf.file)
		}
		if l.buffers.file != nil {
			settings.Inherit(wire.EnvBuffers, true, l.buffers.file)
		}
		if own, in, out, err := link.New(l.cfg.messageBytes()); err == nil { // without one the stream does it all
			own.Check = l.cfg.checkResponse
			p.link = own
			settings.Inherit(wire.EnvLink, false, in, out)
			if rings, err := own.Offer(); err == nil && rings != nil { // without them the channels do it all
				settings.Inherit(wire.EnvRings, false, rings...)
			}
		}
	}
	p.child = l.children.New(settings)
	p.client = l.client(p.child)
	stage := "exec"
	end, err := l.takeTurn(ctx)
	if err != nil {
		return nil, p.stillborn(ctx, stage, err)
	}
	defer end()
	late := l.late()
	start, cancel := l.cfg.pulse.WithTimeout(ctx, l.cfg.StartTimeout, late)
	defer func() {
		if err != nil {
			if errors.Is(context.Cause(start), late) && stage != "handshake" {
				err = late
			}
			err = p.stillborn(ctx, stage, err)
		}
		cancel()
	}()
	switch err := l.children.Folder.Reach(); { // go-plugin makes a folder there
	case errors.Is(err, syscall.EXDEV):
		return nil, fmt.Errorf("something has been mounted over %q, the folder of sockets", l.children.Folder.Path())
	case err != nil:
		return nil, fmt.Errorf("look at the folder of sockets: %w", err)
	}
	// go-plugin's Start holds its lock until its own timeout; killing the process is what ends it sooner.
	stop := context.AfterFunc(start, p.child.KillNow)
	defer stop()
	if _, err = guarded(p.client.Start); err != nil {
		if refused := p.child.Refused(); refused != nil {
			err = refused
			if !errors.As(err, new(*sandbox.ChangedError)) {
				stage = "sandbox"
			}
		} else if p.child.Spawned() {
			stage = "handshake"
			err = p.child.HandshakeError(start, l.cfg.StartTimeout, err)
		}
		return nil, err
	}
	stage = "dial"
	protocol, err := guarded(p.client.Client)
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(wire.PluginName)
	if err != nil {
		return nil, err
	}
	stage = "describe"
	service := raw.(workerpb.WorkerServiceClient)
	// Without the deadline: gRPC would tell the worker of it, whose answer to that may come before our own clock has rung.
	call, hangUp := context.WithCancel(context.WithoutCancel(start))
	defer hangUp()
	defer context.AfterFunc(start, hangUp)()
	answer, err := service.Describe(call, &workerpb.DescribeRequest{})
	if err != nil {
		return nil, err
	}
	if err = checkManifest(answer.GetManifest()); err != nil {
		return nil, err
	}
	if want, got := l.cfg.PluginWorkload, answer.GetManifest().GetName(); want != "" && got != want { // a plugin with one workload looks at no name
		err = fmt.Errorf("it has no workload named %q: its only one is %q", want, got)
		return nil, err
	}
	if err = p.child.Recheck(); err != nil {
		stage = "exec"
		return nil, err
	}
	p.manifest, p.service, p.pid, p.started = answer.GetManifest(), service, p.child.PID(), p.child.Started()
	if !stop() {
		return nil, context.Cause(start)
	}
	return p, nil
}

// client returns go-plugin's client for a process that has not been started.
func (l *launcher) client(c *child.Process) *plugin.Client {
	return plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{wire.Version: {wire.PluginName: servicePlugin{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
		StartTimeout:     l.cfg.StartTimeout + time.Hour, // ours comes first, also where a pause of this process does not count
		SkipHostEnv:      true,
		AutoMTLS:         child.UsesTCP, // 40 ms for each start; a socket in a private folder does not need it
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: l.children.Folder.Path()},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, sockets string) (runner.Runner, error) {
			return c, c.Prepare(spec.Env, sockets)
		},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.Dial(ctx) }),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(l.cfg.messageBytes()), grpc.ForceCodecV2(newCodec(l.cfg.checkResponse))),
			grpc.WithInitialWindowSize(wire.WindowBytes),
			grpc.WithInitialConnWindowSize(wire.WindowBytes),
			grpc.WithReadBufferSize(wire.BufferBytes),
			grpc.WithWriteBufferSize(wire.BufferBytes),
			grpc.WithUnaryInterceptor(describeOnly),
			grpc.WithStreamInterceptor(workOnly),
		},
	})
}

// describeOnly bounds the answer to the one call that is made beside the stream, and keeps go-plugin's Shutdown call from being made: that has
// no deadline, so that a plugin which does not answer holds its host for ever. Workers end when their stream does, or are killed.
func describeOnly(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if strings.HasPrefix(method, "/plugin.GRPCController/") {
		return nil
	}
	return invoke(ctx, method, req, reply, cc, append(opts, grpc.MaxCallRecvMsgSize(wire.MaxManifestBytes))...)
}

// workOnly refuses go-plugin's own streams, which are of no use here and wait for a plugin's answer without a deadline.
func workOnly(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if strings.HasPrefix(method, "/plugin.") {
		return nil, status.Error(codes.Unimplemented, "parhost hosts do not use "+method)
	}
	return open(ctx, desc, cc, method, opts...)
}

// servicePlugin is the worker service as go-plugin dispenses it.
type servicePlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (servicePlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, cc *grpc.ClientConn) (any, error) {
	return workerpb.NewWorkerServiceClient(cc), nil
}

func (servicePlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("a host serves no plugin")
}

// guarded makes an error of a panic in go-plugin, which takes apart what a plugin says: the host must not die of that.
func guarded[T any](call func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("go-plugin panicked: %v", p)
		}
	}()
	return call()
}
