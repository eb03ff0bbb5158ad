package host_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/internal/child"
)

// samples hands the samples of a pool to whoever waits for one.
type samples chan host.State

func (s samples) Observe(e host.Event) {
	if e, ok := e.(host.Sampled); ok {
		select {
		case s <- e.State:
		default:
		}
	}
}

// await returns the first sample that fits.
func (s samples) await(t *testing.T, what string, fits func(host.State) bool) host.State {
	t.Helper()
	last := host.State{}
	for late := time.After(5 * time.Minute); ; {
		select {
		case last = <-s:
			if fits(last) {
				return last
			}
		case <-late:
			t.Fatalf("no sample says %s; the last one: %+v", what, last)
		}
	}
}

// waitsFor returns the first sample that says what the pool waits for.
func (s samples) waitsFor(t *testing.T, wait host.Wait) host.State {
	t.Helper()
	return s.await(t, "that the pool waits for "+string(wait), func(state host.State) bool { return state.Waiting.For == wait })
}

func TestAPoolSaysWhatItsRunsWaitFor(t *testing.T) {
	const mib = 1 << 20
	for _, mode := range modes {
		begin := func(t *testing.T, cfg host.Config) (samples, *host.Typed[order, string]) {
			seen := make(samples)
			cfg.Workload, cfg.Mode, cfg.Observer = chaos, mode, seen
			if cfg.Workers == 0 && mode == host.ModeSequential {
				cfg.Workers = 1
			}
			return seen, typed[order, string](open(t, cfg))
		}
		// take runs items, takes nothing of the results until enough is closed, and then all of them.
		take := func(t *testing.T, p *host.Typed[order, string], items iter.Seq[order], enough <-chan struct{}) (done <-chan int) {
			taken := make(chan int, 1)
			go func() {
				n := 0
				defer func() { taken <- n }()
				for r, err := range p.Stream(t.Context(), items) {
					if err != nil || r.Err != nil {
						t.Errorf("item %d: %v, %v", r.Index, err, r.Err)
						return
					}
					n++
					<-enough
				}
			}()
			return taken
		}
		at := closedAlready()
		t.Run(string(mode)+"/nothing", func(t *testing.T) {
			seen, _ := begin(t, host.Config{})
			state := seen.await(t, "that the workers are ready", func(s host.State) bool { return len(s.Workers) > 0 && s.Starting == 0 })
			if state.Waiting != (host.Waiting{Item: -1}) {
				t.Errorf("got %+v, want nothing", state.Waiting)
			}
		})
		t.Run(string(mode)+"/workers", func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "goes on without it")
			seen, p := begin(t, host.Config{})
			done := take(t, p, slices.Values(orders(1, map[int]order{0: {Do: "await", S: file}})), at)
			state := seen.await(t, "that an item runs", func(s host.State) bool { return s.Waiting.For == host.WaitWorkers && s.Waiting.Worker > 0 })
			if w := state.Waiting; w.Item != 0 || w.Since.IsZero() {
				t.Errorf("got %+v, want item 0 and since when it has been running", w)
			}
			removeWhenThere(t, file)
			<-done
		})
		t.Run(string(mode)+"/input", func(t *testing.T) {
			more := make(chan struct{})
			seen, p := begin(t, host.Config{})
			done := take(t, p, func(yield func(order) bool) {
				if yield(order{Do: "echo"}) {
					<-more
					yield(order{Do: "echo"})
				}
			}, at)
			seen.waitsFor(t, host.WaitInput)
			close(more)
			if n := <-done; n != 2 {
				t.Errorf("got %d results, want 2", n)
			}
		})
		t.Run(string(mode)+"/reader", func(t *testing.T) {
			enough := make(chan struct{})
			seen, p := begin(t, host.Config{})
			done := take(t, p, manyOf(200, order{Do: "huge", N: mib}), enough)
			state := seen.waitsFor(t, host.WaitReader)
			if state.Held < 32 || state.Held > 150 {
				t.Errorf("got %d items held, want as many as 64 MiB have room for", state.Held)
			}
			close(enough)
			if n := <-done; n != 200 {
				t.Errorf("got %d results, want 200", n)
			}
		})
		t.Run(string(mode)+"/order", func(t *testing.T) {
			if mode == host.ModeSequential {
				t.Skip("one item runs after the other")
			}
			file := filepath.Join(t.TempDir(), "goes on without it")
			cfg := host.Config{}
			if mode == host.ModeProcess {
				cfg.Window = 1 // no batch waits behind the item that holds up the order
			}
			seen, p := begin(t, cfg)
			done := take(t, p, func(yield func(order) bool) {
				if yield(order{Do: "echo"}) && yield(order{Do: "await", S: file}) {
					manyOf(200, order{Do: "huge", N: mib})(yield)
				}
			}, at)
			state := seen.waitsFor(t, host.WaitOrder)
			if w := state.Waiting; w.Item != 1 || w.Worker == 0 || w.Since.IsZero() {
				t.Errorf("got %+v, want item 1, its worker and its begin", w)
			}
			removeWhenThere(t, file)
			if n := <-done; n != 202 {
				t.Errorf("got %d results, want 202", n)
			}
		})
		t.Run(string(mode)+"/paused", func(t *testing.T) {
			seen, p := begin(t, host.Config{})
			p.Pause()
			p.Pause()
			done := take(t, p, manyOf(100, order{Do: "echo"}), at)
			if state := seen.waitsFor(t, host.WaitPaused); !state.Paused {
				t.Errorf("got %+v, want a pool that is paused", state)
			}
			one := make(chan error, 1)
			go func() {
				_, err := p.Do(t.Context(), order{Do: "echo"})
				one <- err
			}()
			for _, w := range p.Workers() {
				if w.Items > 0 || w.Batches > 0 {
					t.Errorf("got %+v, want a worker that has run nothing", w)
				}
			}
			p.Resume()
			if n := <-done; n != 100 {
				t.Errorf("got %d results, want 100", n)
			}
			if err := <-one; err != nil {
				t.Errorf("Do: %v", err)
			}
			p.Pause()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := p.Do(ctx, order{Do: "echo"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Do in a pool that stays paused: got %v, want that its deadline has passed", err)
			}
			if err := p.Shutdown(t.Context()); err != nil { // does not wait for Resume
				t.Errorf("Shutdown: %v", err)
			}
		})
		t.Run(string(mode)+"/retry", func(t *testing.T) {
			seen, p := begin(t, host.Config{ItemTimeout: time.Millisecond, Retries: 1000, RetryAlways: true})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = p.Map(ctx, []order{{Do: "hold"}})
			}()
			seen.waitsFor(t, host.WaitRetry)
			cancel()
			<-done
		})
	}
}

func TestAPoolSaysThatItsWorkersStart(t *testing.T) {
	dir := t.TempDir()
	seen := make(samples)
	env := func(how string) []string {
		return []string{"STATE_SETUP=" + how, "STATE_LOG=" + filepath.Join(dir, how)}
	}
	opened := make(chan *host.Pool, 1)
	go func() {
		p, err := host.Open(t.Context(), host.Config{Workload: stateful, Workers: 2, Env: env("await"), Observer: seen})
		if err != nil {
			t.Error(err)
		}
		opened <- p
	}()
	state := seen.await(t, "that two workers start", func(s host.State) bool { return s.Starting == 2 })
	if state.Waiting.For != host.WaitStart || len(state.Workers) != 0 {
		t.Errorf("got %+v, want no worker, and that the pool waits for them", state)
	}
	if err := os.WriteFile(filepath.Join(dir, "await.set-up.go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if first := <-opened; first != nil {
		defer first.Close()
	}

	p := open(t, host.Config{Workload: stateful, Workers: 1, Env: env("second"), Observer: seen})
	go func() {
		_, _ = typed[string, string](p).Map(context.Background(), []string{"exit", "an item", "another"})
	}()
	state = seen.waitsFor(t, host.WaitRestart)
	if state.Delayed != 1 || len(state.Workers) != 0 {
		t.Errorf("got %+v, want one start that is delayed", state)
	}
}

// What a sample says of a worker is what the kernel says of its process.
func TestSamplesHaveTheMemoryAndTheCPUTimeOfWorkers(t *testing.T) {
	seen := make(samples)
	p := open(t, host.Config{Workload: chaos, Workers: 1, Observer: seen})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = typed[order, string](p).Do(ctx, order{Do: "sleep", N: 3_600_000})
	}()
	state := seen.await(t, "how much memory the worker has", func(s host.State) bool { return len(s.Workers) == 1 && (s.Workers[0].RSS > 0 || !child.CanReadRSS) })
	w := state.Workers[0]
	if child.CanReadRSS && (w.RSS < 1<<20 || w.RSS > 1<<30 || w.CPU < 0 || w.CPU > time.Minute) {
		t.Errorf("got %d bytes and %v, want those of a small process", w.RSS, w.CPU)
	}
	if w.Threads < 1 {
		t.Errorf("got %d threads", w.Threads)
	}
	cancel()
	<-done
	state = seen.await(t, "what was sent", func(s host.State) bool { return len(s.Workers) == 0 || s.Workers[0].Traffic.Messages > 0 })
	if len(state.Workers) == 1 && state.Workers[0].Traffic.Messages > 1000 {
		t.Errorf("got %+v for an item of some 20 bytes", state.Workers[0].Traffic)
	}
}

func closedAlready() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// manyOf is an input of n equal items.
func manyOf(n int, o order) iter.Seq[order] { return slices.Values(slices.Repeat([]order{o}, n)) }
