package sdk

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/family"
	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/wire"
)

// Serve is the whole life of a plugin process: it serves the workload to the host that started the process, and exits when the host ends the worker
// or goes away. It does not return. Exit code 0 is a normal end.
//
// With several workloads, the host names the one that it wants, as in parhost --plugin ./plug:up. A single workload is served under any name.
//
// If a person starts the program by hand, Serve prints how to run it with parhost and exits with code 2. It also exits with code 2 if there is no
// workload of the name that the host asks for.
func Serve(workloads ...AnyWorkload) {
	mayGuard()
	if !launched() {
		fmt.Fprintf(os.Stderr, "%s is a parhost plugin. Run it with: parhost --plugin %s\n", os.Args[0], os.Args[0])
		os.Exit(2)
	}
	w, err := pick(workloads, os.Getenv(wire.EnvWorkload))
	if err != nil {
		fmt.Fprintf(os.Stderr, "parhost plugin: %v\n", err)
		os.Exit(2)
	}
	serve(w)
	os.Exit(0)
}

// ServeChild is for programs that are both a host and its plugin. Call it first in main. If this process was started as a worker of one of the
// workloads, ServeChild serves it and does not return; otherwise it returns at once.
//
// On Linux, ServeChild also lets the pools of this program have guards. A guard is another process of this program: if the host is killed, its guard
// kills the processes that the workers have started, whatever their plugin. For this reason a host may call ServeChild without any workloads.
func ServeChild(workloads ...AnyWorkload) {
	mayGuard()
	if launched() && os.Getenv(wire.EnvWorkload) != "" {
		Serve(workloads...)
	}
}

// mayGuard runs this process as a guard if it was started as one; it then does not return. Otherwise it allows the pools in this process to start
// guards. A guard is not a worker: when its host is killed, it kills what the host's workers have started.
func mayGuard() {
	if family.RunGuard() {
		os.Exit(0)
	}
	family.Served.Store(true)
}

// launched reports whether a host started this process.
func launched() bool {
	return os.Getenv(wire.Handshake.MagicCookieKey) == wire.Handshake.MagicCookieValue
}

func pick(workloads []AnyWorkload, name string) (*erased, error) {
	if len(workloads) == 1 {
		return workloads[0].erase(), nil
	}
	var names []string
	for _, workload := range workloads {
		w := workload.erase()
		if w.manifest.Name == name {
			return w, nil
		}
		names = append(names, w.manifest.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("it serves no workload: main must give each to sdk.ServeChild")
	}
	which := "it serves several workloads"
	if name != "" {
		which = fmt.Sprintf("it has no workload named %q", name)
	}
	return nil, fmt.Errorf("%s: name one of %s behind a colon, as in --plugin %s:%s", which, strings.Join(names, ", "), filepath.Base(os.Args[0]), names[0])
}

// serve serves one workload and returns when the worker's work is over.
func serve(w *erased) {
	killDescendants := sync.OnceFunc(descendantKiller())
	watchParent(killDescendants)
	// Errors are sent even if the host shows no logs, because the last error may be the reason why the process dies.
	level := min(hclog.LevelFromString(os.Getenv(wire.EnvLogLevel)), hclog.Error)
	options := hclog.LoggerOptions{Name: w.manifest.Name, Output: os.Stderr, JSONFormat: true, Level: level, Mutex: &sync.Mutex{}}
	logger := hclog.New(&options)
	options.Level = hclog.Trace
	adoptLogs(logger, hclog.New(&options))
	s := newServer(w, logger)
	s.arena, s.buffers = inherit(wire.EnvArena, arena.Map), inherit(wire.EnvBuffers, arena.MapBuffers)
	s.link = openLink()
	showStacks()
	terminate := make(chan os.Signal, 2)
	signal.Notify(terminate, terminateSignal)
	go func() {
		<-terminate
		if !s.opened.Load() {
			os.Exit(0) // there is no running item and no batch to hand back
		}
		s.leave() // running items finish; the host gets the others back
		<-terminate
		os.Exit(1)
	}()
	// go-plugin logs only one thing before its server runs: why it cannot start it, for example because it cannot create its socket.
	whyNot := hclog.New(&hclog.LoggerOptions{Name: w.manifest.Name, Output: os.Stderr, Level: hclog.Error, DisableTime: true})
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{wire.Version: {wire.PluginName: &grpcPlugin{server: s}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			whyNot.SetLevel(hclog.Off)
			return s.listen(opts)
		},
		Logger: whyNot,
	})
	if s.grpc == nil {
		os.Exit(1)
	}
	if s.orphaned.Load() {
		killDescendants() // a living host kills them itself after this process has ended
	}
}

// killLimit is how long a worker that lost its host searches for the processes that it has started, before it exits.
const killLimit = 800 * time.Millisecond

// descendantKiller returns a function that kills the processes that this worker has started, and the worker itself if it leads a group. It reads the
// environment now, before the workload can change it.
func descendantKiller() func() {
	name, own, ok := family.Own()
	return func() {
		if ok {
			_, _ = family.Search{Name: name, Of: func(number uint32) bool { return number == own }, Limit: killLimit}.End()
		}
		killGroup()
	}
}

// showStacks makes SIGQUIT print the stacks of all goroutines on stderr and end the process with code 2. Go's own handler does this too, but it omits
// goroutines that are running at that moment, and a host wants exactly those: it asks what an item is doing that does not end.
func showStacks() {
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, quitSignal)
	go func() {
		<-quit
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		fmt.Fprintf(os.Stderr, "SIGQUIT: quit\n\n%s\n", stacks)
		os.Exit(2)
	}()
}

// watchParent kills this process and the processes that it started when the host is gone. When the host ends for any reason, its end of a pipe
// closes. Linux sends orphanSignal as well.
func watchParent(killDescendants func()) {
	orphan := make(chan os.Signal, 1)
	signal.Notify(orphan, orphanSignal)
	go func() {
		<-orphan
		killDescendants()
		os.Exit(1)
	}()
	fd, err := strconv.Atoi(os.Getenv(wire.EnvAlive))
	if err != nil {
		return // another implementation of a host, which gives no pipe
	}
	closeOnExec(fd)
	alive := os.NewFile(uintptr(fd), "alive")
	go func() {
		wakeAsOrphan()
		var b [1]byte
		for {
			switch _, err := alive.Read(b[:]); {
			case errors.Is(err, syscall.EAGAIN): // another process has made the shared descriptor non-blocking
				awaitReadable(fd)
			case err != nil:
				killDescendants()
				os.Exit(1)
			}
		}
	}()
}

// inherit maps memory that the host shares with this worker. The environment variable env holds the descriptor of its file. It returns nil if the
// host shares none or the mapping fails; items and results then travel in messages.
func inherit[M any](env string, mapping func(fd int) (*M, error)) *M {
	fd, err := strconv.Atoi(os.Getenv(env))
	if err != nil {
		return nil
	}
	m, err := mapping(fd)
	_ = os.NewFile(uintptr(fd), env).Close() // the mapping survives the close
	if err != nil {
		return nil
	}
	return m
}

// openLink opens the channels on which the host takes messages outside of gRPC. It returns nil if there are none.
func openLink() *link.Link {
	var in, out int
	if _, err := fmt.Sscanf(os.Getenv(wire.EnvLink), "%d,%d", &in, &out); err != nil {
		return nil
	}
	l, err := link.Open(in, out, messageBytes())
	if err != nil {
		return nil
	}
	var memory, data, room int
	if _, err := fmt.Sscanf(os.Getenv(wire.EnvRings), "%d,%d,%d", &memory, &data, &room); err == nil {
		_ = l.Take(memory, data, room) // on failure the link keeps its channels, which are only slower
	}
	return l
}

// messageBytes returns the largest size of a message from the host, in bytes.
func messageBytes() int {
	limit := wire.DefaultMaxItemBytes
	if n, err := strconv.Atoi(os.Getenv(wire.EnvMaxItemBytes)); err == nil && n > 0 {
		limit = n
	}
	return limit + wire.MessageSlack
}

// forgetLaunch removes the host's variables from the environment, so that a plugin program which the workload starts does not take itself for a
// worker of this host.
func forgetLaunch() {
	words := []string{wire.Handshake.MagicCookieKey, wire.EnvWorkload, wire.EnvAlive, wire.EnvArena, wire.EnvBuffers, wire.EnvLink, wire.EnvRings}
	for _, kv := range os.Environ() {
		if key, _, _ := strings.Cut(kv, "="); strings.HasPrefix(key, "PLUGIN_") || slices.Contains(words, key) {
			_ = os.Unsetenv(key)
		}
	}
}

// listen makes the gRPC server with our own settings: those of go-plugin accept messages of 4 MiB at most and use windows of 64 KiB.
func (s *server) listen(opts []grpc.ServerOption) *grpc.Server {
	s.grpc = grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(messageBytes()),
		grpc.MaxSendMsgSize(1<<31-1), // no limit here: the host limits single results, and batches by their bytes
		grpc.InitialWindowSize(wire.WindowBytes),
		grpc.InitialConnWindowSize(wire.WindowBytes),
		grpc.ReadBufferSize(wire.BufferBytes),
		grpc.WriteBufferSize(wire.BufferBytes),
	)...)
	return s.grpc
}

// stop ends plugin.Serve, and with it the process. It closes connections gracefully for one second, then by force.
func (s *server) stop() {
	force := time.AfterFunc(time.Second, s.grpc.Stop)
	defer force.Stop()
	s.grpc.GracefulStop()
}
