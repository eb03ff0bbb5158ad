package host_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// Whatever a worker does, its pool ends in three seconds, and nothing of it is left.
func TestAPoolEndsSoonWhateverItsWorkersDo(t *testing.T) {
	const limit = 3 * time.Second
	for name, o := range map[string]order{
		"stops itself":                     {Do: "stop"},
		"ignores signals":                  {Do: "ignore"},
		"spins":                            {Do: "spin"},
		"has a child that holds its pipes": {Do: "child"},
		"has one in another session":       {Do: "child", S: "session"},
		"has a daemon":                     {Do: "daemon"},
	} {
		for how, end := range map[string]func(p *host.Pool){
			"Close": func(p *host.Pool) { p.Close() },
			"Shutdown": func(p *host.Pool) {
				ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
				defer cancel()
				_ = p.Shutdown(ctx)
			},
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				atLevelsTogether(t, func(t *testing.T, policy sandbox.Policy) {
					mark, env := newMark()
					cfg := host.Config{Workload: chaos, Workers: 1, Sandbox: policy, Env: []string{env}}
					if o.Do == "child" || o.Do == "daemon" {
						letFork(t, &cfg)
					}
					p := open(t, cfg)
					h := typed[order, string](p).Start(t.Context(), o)
					if cfg.Sandbox.AllowFork || o.Do == "child" || o.Do == "daemon" {
						if said, err := value(h.Wait(t.Context())); err != nil {
							t.Fatalf("got %q, %v, want what it has started", said, err)
						}
						// The kernel shows the environment of a process a moment after it has closed the files that tell of its exec.
						within(t, "the worker and what it has started", patience, func() {
							for len(marked(t, mark)) < 2 {
								time.Sleep(time.Millisecond)
							}
						})
					} else {
						waitRunning(t, p)
					}
					within(t, how, limit, func() { end(p) })
					<-h.Done()
					checkGone(t, mark)
				})
			})
		}
	}
}

// waitRunning waits for the first worker to show that it runs an item.
func waitRunning(t *testing.T, p *host.Pool) {
	t.Helper()
	poll(t, "the item", func() bool {
		ws := p.Workers()
		return len(ws) > 0 && len(ws[0].Running) > 0
	})
}

// A worker that reads nothing does not hear that it is to end.
func TestAPoolEndsSoonThatIsNotHeard(t *testing.T) {
	atLevelsTogether(t, func(t *testing.T, policy sandbox.Policy) {
		cfg := fake(t, "reads nothing")
		mark, env := newMark()
		cfg.Sandbox, cfg.Env = policy, append(cfg.Env, env)
		p := open(t, cfg)
		h := typed[string, int](p).Start(t.Context(), "x")
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		within(t, "Shutdown", 3*time.Second, func() { _ = p.Shutdown(ctx) })
		<-h.Done()
		checkGone(t, mark)
	})
}

// A process that holds stdout, and that the plugin leaves behind before it has said anything, holds nobody up.
func TestAStartThatLeavesAProcessBehindFailsAtOnce(t *testing.T) {
	atLevelsTogether(t, func(t *testing.T, policy sandbox.Policy) {
		cfg := fake(t, "detached")
		mark, env := newMark()
		cfg.Sandbox, cfg.Env = policy, append(cfg.Env, env)
		letFork(t, &cfg)
		within(t, "Open", 3*time.Second, func() {
			_, err := host.Open(t.Context(), cfg)
			if errors.Is(err, sandbox.ErrNotSupported) {
				t.Skip(err)
			}
			if e, ok := errors.AsType[*host.StartError](err); !ok || e.Stage != "handshake" || !slices.Contains(e.Stderr, "left behind") {
				t.Errorf("Open: got %v, want a StartError", err)
			}
		})
		checkGone(t, mark)
	})
}

// A worker that somebody has stopped while it had nothing to do cannot end by itself.
func TestShutdownEndsStoppedWorkers(t *testing.T) {
	p := open(t, host.Config{Workload: half, SetupTimeout: time.Hour, TeardownTimeout: time.Hour, Grace: 100 * time.Millisecond})
	if _, err := typed[float64, float64](p).Map(t.Context(), upTo(100)); err != nil {
		t.Fatal(err)
	}
	for _, w := range p.Workers() {
		if err := unix.Kill(w.PID, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "Shutdown", patience, func() {
		if err := p.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: got %v, want no error", err)
		}
	})
}
