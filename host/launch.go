package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/family"
	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/litter"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// launcher starts the worker processes of one pool.
type launcher struct {
	cfg     *Config
	buffers *buffers // of the pool
	box     *sandbox.Box
	path    string // of the executable, for people: what is executed the box knows
	env     []string
	folder  *litter.Folder // of sockets
	spawner *spawner
	turns   chan struct{} // taken by processes that are starting
	kin     *kin
	ooms    oomWatch
	killed  <-chan struct{} // closed when the pool is to end now
}

// openLauncher finds the executable and makes what all workers share.
func openLauncher(ctx context.Context, cfg *Config, buffers *buffers) (_ *launcher, err error) {
	l := &launcher{cfg: cfg, buffers: buffers}
	var source string // of the bytes that all workers execute
	if cfg.Workload != nil {
		source, err = sandbox.Self()
		l.path, _ = os.Executable()
	} else {
		source, err = Find(cfg.Plugin, cfg.PluginDirs...)
		l.path = source
	}
	if err != nil && cfg.Workload != nil {
		return nil, &StartError{Worker: 1, Plugin: cfg.Plugin, Stage: "exec", Err: fmt.Errorf("find this program's own file: %w", err)}
	}
	if err != nil {
		return nil, err
	}
	policy := cfg.Sandbox
	policy.Workers = cfg.Workers
	if policy.TempDir == "" {
		policy.TempDir = cfg.TempDir
	}
	if l.box, err = sandbox.Open(ctx, policy, source, cfg.Checksum); err != nil {
		return nil, noFolder(cfg, err)
	}
	defer func() {
		if err != nil {
			l.box.Close()
		}
	}()
	l.env = environment(cfg)
	if l.folder, err = litter.Open(folderPrefix, cfg.TempDir, socketNameBytes()); err != nil {
		return nil, &StartError{Worker: 1, Plugin: cfg.Plugin, Stage: "sockets", Err: err}
	}
	l.spawner = newSpawner()
	l.turns = make(chan struct{}, runtime.GOMAXPROCS(0))
	if err := family.Markable(); err != nil && l.box.Level() != sandbox.Strict {
		cfg.Logger.Warn("what a worker starts is not found, and may outlive the pool, if it leaves the worker's session and environment", "err", err)
	}
	l.kin = openKin(l.folder.Path(), cfg.Logger)
	return l, nil
}

// noFolder makes a failed start of the error that there is no place for sockets. Any other stays as it is.
func noFolder(cfg *Config, err error) error {
	if errors.As(err, new(*litter.FolderError)) {
		return &StartError{Worker: 1, Plugin: cfg.Plugin, Stage: "sockets", Err: err}
	}
	return err
}

// folderPrefix is what the names of pools' folders begin with.
const folderPrefix = "parhost"

// socketNameBytes is what go-plugin adds to a pool's folder: two names with random numbers of up to ten digits.
func socketNameBytes() int {
	if usesTCP {
		return 0
	}
	return len("/plugin-dir4294967295/plugin4294967295")
}

// removeTime is what a pool's end has for the removal of what its workers have left in their folders. The next host goes on with the rest.
const removeTime = time.Second

// close lets go of everything. All workers must be gone.
func (l *launcher) close() {
	l.kin.close()
	l.spawner.close()
	l.box.Close()
	ctx, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	if err := l.folder.Close(ctx); err != nil {
		l.cfg.Logger.Warn("a folder is left for the next host to remove", "folder", l.folder.Path(), "err", err)
	}
}

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
	select {
	case l.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	var once sync.Once
	give := func() { once.Do(func() { <-l.turns }) }
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
		number: number, cfg: l.cfg, pids: l.box.PIDs(), buffers: l.buffers, ending: make(chan struct{}), dead: make(chan struct{}), ooms: &l.ooms, oomsBefore: oomKills(),
		logger: l.cfg.Logger.Named(l.cfg.Plugin).With("worker", number),
	}
	p.child = newChild(l.spawner, l.folder, l.kin.expect(), &output{logger: p.logger, valve: valve{most: int64(l.cfg.MaxOutputBytes), flooded: p.flood}, item: p.printing})
	p.child.hurry = l.killed
	if !l.cfg.Inline {
		if p.shelf = openShelf(shelfBytes(max(workers, l.cfg.Workers)), max(keepLeast, keepBytes/workers)); p.shelf != nil {
			p.child.arena = p.shelf.file
		}
		if own, in, out, err := link.New(l.cfg.messageBytes()); err == nil { // without one the stream does it all
			own.Check = l.cfg.checkResponse
			p.link, p.child.link = own, []*os.File{in, out}
			p.child.rings, _ = own.Offer() // without them the channels do it all
		}
	}
	p.client = l.client(p.child, number, cpuShare(l.cfg, workers))
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
	switch err := l.folder.Reach(); { // go-plugin makes a folder there
	case errors.Is(err, syscall.EXDEV):
		return nil, fmt.Errorf("something has been mounted over %q, the folder of sockets", l.folder.Path())
	case err != nil:
		return nil, fmt.Errorf("look at the folder of sockets: %w", err)
	}
	// go-plugin's Start holds its lock until its own timeout; killing the process is what ends it sooner.
	stop := context.AfterFunc(start, p.child.kill)
	defer stop()
	if _, err = guarded(p.client.Start); err != nil {
		if p.child.refused != nil {
			err = p.child.refused
			if !errors.As(err, new(*sandbox.ChangedError)) {
				stage = "sandbox"
			}
		} else if p.child.spawned.Load() {
			stage = "handshake"
			err = l.handshakeError(start, p.child, err)
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
	if err = p.child.launch.Recheck(); err != nil {
		stage = "exec"
		return nil, err
	}
	p.manifest, p.service = answer.GetManifest(), service
	if !stop() {
		return nil, context.Cause(start)
	}
	return p, nil
}

// client returns go-plugin's client for child number, which has not been started, and that gets its share of the CPUs.
func (l *launcher) client(c *child, number int, share []string) *plugin.Client {
	return plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{wire.Version: {wire.PluginName: servicePlugin{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
		StartTimeout:     l.cfg.StartTimeout + time.Hour, // ours comes first, also where a pause of this process does not count
		SkipHostEnv:      true,
		AutoMTLS:         usesTCP, // 40 ms for each start; a socket in a private folder does not need it
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: l.folder.Path()},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, sockets string) (runner.Runner, error) {
			cmd := exec.Command(l.path)
			cmd.Env = slices.Concat(share, l.env, spec.Env, []string{c.family.variable()})
			cmd.Dir = l.cfg.Dir
			cmd.SysProcAttr = isolate()
			if runtime.GOOS != "windows" {
				if err := c.openAlive(); err != nil {
					return nil, err
				}
				inherit(cmd, wire.EnvAlive, c.alive[0])
				if c.arena != nil {
					inherit(cmd, wire.EnvArena, c.arena)
				}
				if l.buffers.file != nil {
					inherit(cmd, wire.EnvBuffers, l.buffers.file)
				}
				if c.link != nil {
					inherit(cmd, wire.EnvLink, c.link...)
				}
				if c.rings != nil {
					inherit(cmd, wire.EnvRings, c.rings...)
				}
			}
			c.cmd, c.sockets, c.walled = cmd, sockets, l.box.Level() == sandbox.Strict
			c.launch, c.refused = l.box.Wrap(cmd, number)
			return c, c.refused
		},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.dial(ctx) }),
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

// inherit passes files on to a process, and tells it their numbers in a variable.
func inherit(cmd *exec.Cmd, variable string, files ...*os.File) {
	const standard = 3 // stdin, stdout, stderr
	var numbers []string
	for _, f := range files {
		numbers = append(numbers, strconv.Itoa(standard+len(cmd.ExtraFiles)))
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Env = append(cmd.Env, variable+"="+strings.Join(numbers, ","))
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
