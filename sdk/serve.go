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

// Serve is the whole life of a plugin process: it serves the workload to the host that started it, and exits when the host
// ends the worker or goes away. It does not return.
//
// With several workloads the host names the one it wants, as in parhost --plugin ./plug:up; alone, one is served whatever the name.
//
// A person who starts the program by hand gets told what it is, and exit code 2.
func Serve(workloads ...*Workload) {
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

// ServeChild is for programs that are a host and its own plugin: called first thing in main, it serves and does not return if
// this process was started as a worker of one of the workloads, and returns at once otherwise.
//
// On Linux it also lets the pools of this program have guards: processes of this program which, if it is killed, end what the workers of
// any plugin have started. So a host may call it without workloads of its own.
func ServeChild(workloads ...*Workload) {
	mayGuard()
	if launched() && os.Getenv(wire.EnvWorkload) != "" {
		Serve(workloads...)
	}
}

// mayGuard makes this process a guard, if that is what it was started for, and tells hosts in it that they may start some. A guard is no
// worker: it ends what the workers of a host have started when that host is killed.
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

func pick(workloads []*Workload, name string) (*Workload, error) {
	if len(workloads) == 1 {
		return workloads[0], nil
	}
	var names []string
	for _, w := range workloads {
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

// serve returns when the work is over.
func serve(w *Workload) {
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
			os.Exit(0) // there is nothing to leave
		}
		s.leave() // running items end, the rest goes back to the host
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
		killDescendants() // a host that lives does so itself, when this process has ended
	}
}

// killLimit is what a worker without a host takes for the end of what it has started, before it ends itself.
const killLimit = 800 * time.Millisecond

// descendantKiller returns what ends the processes that this worker has started, and the worker itself if it leads a group. It reads the
// environment now, before the workload may change it.
func descendantKiller() func() {
	name, own, ok := family.Own()
	return func() {
		if ok {
			_, _ = family.Search{Name: name, Of: func(number uint32) bool { return number == own }, Limit: killLimit}.End()
		}
		killGroup()
	}
}

// showStacks makes SIGQUIT show all goroutines on stderr and end the process. So does Go itself, but it does not show one that runs
// just then, and a host asks for just that: what an item does that does not end.
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

// watchParent ends this process, and those that it started, when the host is gone. The host's end of a pipe closes then, whatever ended the host. Where the
// kernel can, it sends orphanSignal too.
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
		return // a host of another make
	}
	closeOnExec(fd)
	alive := os.NewFile(uintptr(fd), "alive")
	go func() {
		wakeAsOrphan()
		var b [1]byte
		for {
			switch _, err := alive.Read(b[:]); {
			case errors.Is(err, syscall.EAGAIN): // somebody has made it one that does not wait
				awaitReadable(fd)
			case err != nil:
				killDescendants()
				os.Exit(1)
			}
		}
	}()
}

// inherit maps memory that the host shares with this worker, if it does: the environment has the number of its file. Without it
// everything travels in messages.
func inherit[M any](env string, mapping func(fd int) (*M, error)) *M {
	fd, err := strconv.Atoi(os.Getenv(env))
	if err != nil {
		return nil
	}
	m, err := mapping(fd)
	_ = os.NewFile(uintptr(fd), env).Close() // the mapping stays
	if err != nil {
		return nil
	}
	return m
}

// openLink opens the channels on which the host takes messages past gRPC, if there are any.
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
		_ = l.Take(memory, data, room) // else its channels are as good, only slower
	}
	return l
}

// messageBytes bounds a message from the host.
func messageBytes() int {
	limit := wire.DefaultMaxItemBytes
	if n, err := strconv.Atoi(os.Getenv(wire.EnvMaxItemBytes)); err == nil && n > 0 {
		limit = n
	}
	return limit + wire.MessageSlack
}

// forgetLaunch takes the host's words from the environment, so that a program which the workload starts does not take itself for
// a worker of this host.
func forgetLaunch() {
	words := []string{wire.Handshake.MagicCookieKey, wire.EnvWorkload, wire.EnvAlive, wire.EnvArena, wire.EnvBuffers, wire.EnvLink, wire.EnvRings}
	for _, kv := range os.Environ() {
		if key, _, _ := strings.Cut(kv, "="); strings.HasPrefix(key, "PLUGIN_") || slices.Contains(words, key) {
			_ = os.Unsetenv(key)
		}
	}
}

// listen makes the gRPC server with settings of our own: go-plugin's accept 4 MiB at most, in windows of 64 KiB.
func (s *server) listen(opts []grpc.ServerOption) *grpc.Server {
	s.grpc = grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(messageBytes()),
		grpc.MaxSendMsgSize(1<<31-1), // results are bounded one by one, and batches by their bytes
		grpc.InitialWindowSize(wire.WindowBytes),
		grpc.InitialConnWindowSize(wire.WindowBytes),
		grpc.ReadBufferSize(wire.BufferBytes),
		grpc.WriteBufferSize(wire.BufferBytes),
	)...)
	return s.grpc
}

// stop ends plugin.Serve, and so the process: politely, then not.
func (s *server) stop() {
	force := time.AfterFunc(time.Second, s.grpc.Stop)
	defer force.Stop()
	s.grpc.GracefulStop()
}
