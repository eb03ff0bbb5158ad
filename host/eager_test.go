//go:build unix

package host_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

// turnstile is a workload whose first worker is ready at once and whose others wait for a file named open: all in the folder that
// TURNSTILE names. With a file named broken they do not start.
var turnstile = sdk.Struct("turnstile", func() sdk.Runner[float64, float64] { return through{} })

func init() { workloads = append(workloads, turnstile) }

type through struct{}

func (through) Setup(ctx context.Context) error {
	dir := os.Getenv("TURNSTILE")
	f, err := os.OpenFile(filepath.Join(dir, "first"), os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return f.Close()
	}
	for tick := time.NewTicker(2 * time.Millisecond); ; {
		if _, err := os.Stat(filepath.Join(dir, "broken")); err == nil {
			return errors.New("the turnstile is broken")
		}
		if _, err := os.Stat(filepath.Join(dir, "open")); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (through) Run(_ context.Context, x float64) (float64, error) { return x / 2, nil }

// starts tells of each worker that is ready.
type starts chan host.WorkerStarted

func (s starts) Observe(e host.Event) {
	if e, ok := e.(host.WorkerStarted); ok {
		s <- e
	}
}

// words tells what a pool's logger wrote, as long as there is room.
type words chan string

func (w words) Write(b []byte) (int, error) {
	select {
	case w <- string(b):
	default:
	}
	return len(b), nil
}

// openTurnstile opens an eager pool of three workers with a context that ends at once, and returns it with its folder.
func openTurnstile(t *testing.T, cfg host.Config) (*host.Pool, string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TURNSTILE", dir) // for goroutines
	cfg.Workload, cfg.Workers, cfg.Eager = turnstile, 3, true
	cfg.Env = []string{"TURNSTILE=" + dir}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p, err := host.Open(ctx, cfg)
	if err != nil {
		t.Fatalf("Open: got the error %v", err)
	}
	t.Cleanup(func() { p.Close() })
	return p, dir
}

func putFile(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAnEagerPoolRunsItemsWhileItsOtherWorkersStart(t *testing.T) {
	for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine} {
		t.Run(string(mode), func(t *testing.T) {
			ready := make(starts, 3)
			p, dir := openTurnstile(t, host.Config{Mode: mode, Observer: ready})
			if n := len(p.Workers()); n != 1 {
				t.Fatalf("got %d workers, want the first", n)
			}
			got, err := typed[float64, float64](p).Map(t.Context(), upTo(1000))
			if err != nil || got[999] != 499.5 {
				t.Fatalf("Map with one worker: got %v", err)
			}
			putFile(t, dir, "open") // after Open's context has ended
			within(t, "waiting for the others", 10*time.Second, func() {
				for range 3 {
					<-ready
				}
			})
		})
	}
}

func TestAnEagerPoolTellsWhyWorkersDidNotStart(t *testing.T) {
	said := make(words, 100)
	p, dir := openTurnstile(t, host.Config{Logger: hclog.New(&hclog.LoggerOptions{Output: said, Level: hclog.Warn})})
	putFile(t, dir, "broken")
	within(t, "waiting for the reason", 10*time.Second, func() {
		for !strings.Contains(<-said, "the turnstile is broken") {
		}
	})
	if _, err := value(typed[float64, float64](p).Do(t.Context(), 4)); err != nil {
		t.Errorf("Do on the worker that lives: got the error %v", err)
	}
}

func TestWhoEndsAnEagerPoolDoesNotWaitForWorkersThatStart(t *testing.T) {
	for how, end := range map[string]func(p *host.Pool) error{
		"Close":    (*host.Pool).Close,
		"Shutdown": func(p *host.Pool) error { return p.Shutdown(t.Context()) },
	} {
		for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine} {
			t.Run(how+"/"+string(mode), func(t *testing.T) {
				said := make(words, 100)
				p, _ := openTurnstile(t, host.Config{Mode: mode, Logger: hclog.New(&hclog.LoggerOptions{Output: said, Level: hclog.Warn})})
				within(t, how, 5*time.Second, func() {
					if err := end(p); err != nil {
						t.Errorf("%s: got the error %v", how, err)
					}
				})
				select {
				case line := <-said:
					t.Errorf("got the word %q, want none: nothing has failed", line)
				default:
				}
			})
		}
	}
}
