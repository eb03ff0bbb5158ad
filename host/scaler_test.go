//go:build unix

package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
)

// sizable are the modes whose pools have as many workers as one likes.
var sizable = []host.Mode{host.ModeProcess, host.ModeGoroutine}

// await starts n items that run until the returned function is called for them; each says by a file that it has begun.
func await(t *testing.T, p *host.Pool, n int) (begun func(i int), release func()) {
	t.Helper()
	dir := t.TempDir()
	file := func(i int) string { return filepath.Join(dir, strconv.Itoa(i)) }
	items := make([]order, n)
	for i := range items {
		items[i] = order{Do: "await", S: file(i)}
	}
	ended := make(chan error, 1)
	go func() {
		results, err := typed[order, string](p).Map(t.Context(), items)
		if err == nil && len(results) != n {
			err = errors.New(strconv.Itoa(len(results)) + " results")
		}
		ended <- err
	}()
	release = func() {
		t.Helper()
		for i := range n {
			removeWhenThere(t, file(i))
		}
		if err := <-ended; err != nil {
			t.Errorf("the items: got %v, want no error", err)
		}
	}
	return func(i int) { t.Helper(); waitFile(t, file(i)) }, release
}

// waitWorkers waits until a pool has n workers, and returns them.
func waitWorkers(t *testing.T, p *host.Pool, n int) []host.WorkerInfo {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		workers := p.Workers()
		if len(workers) == n {
			return workers
		}
		if time.Now().After(deadline) {
			t.Fatalf("workers: got %+v, want %d", workers, n)
		}
	}
}

func TestResizeGivesARunMoreWorkers(t *testing.T) {
	for _, mode := range sizable {
		t.Run(string(mode), func(t *testing.T) {
			p := open(t, host.Config{Workload: chaos, Mode: mode, Workers: 1})
			begun, release := await(t, p, 3)
			begun(0)
			if err := p.Resize(3); err != nil {
				t.Fatalf("Resize(3): got %v", err)
			}
			begun(1)
			begun(2)
			release()
		})
	}
}

func TestResizeLetsTheIdleGoFirst(t *testing.T) {
	for _, mode := range sizable {
		t.Run(string(mode), func(t *testing.T) {
			p := open(t, host.Config{Workload: chaos, Mode: mode, Workers: 3})
			begun, release := await(t, p, 1)
			begun(0)
			var busy int
			for _, w := range p.Workers() {
				if w.Batches > 0 {
					busy = w.Worker
				}
			}
			if err := p.Resize(1); err != nil {
				t.Fatalf("Resize(1): got %v", err)
			}
			if left := waitWorkers(t, p, 1); left[0].Worker != busy {
				t.Errorf("left: got worker %d, want %d, which runs an item", left[0].Worker, busy)
			}
			release()
			if err := p.Resize(2); err != nil {
				t.Fatalf("Resize(2): got %v", err)
			}
			waitWorkers(t, p, 2)
		})
	}
}

func TestResizeEndsNoItem(t *testing.T) {
	p := open(t, host.Config{Workload: chaos, Workers: 3})
	begun, release := await(t, p, 3)
	for i := range 3 {
		begun(i)
	}
	if err := p.Resize(1); err != nil {
		t.Fatalf("Resize(1): got %v", err)
	}
	waitWorkers(t, p, 1)
	release()
}

func TestResizeRefusesWhatCannotBe(t *testing.T) {
	p := open(t, host.Config{Workload: half, Workers: 1})
	one := open(t, host.Config{Workload: half, Mode: host.ModeSequential})
	var config *host.ConfigError
	if err := p.Resize(0); !errors.As(err, &config) {
		t.Errorf("Resize(0): got %v, want a ConfigError", err)
	}
	if err := one.Resize(2); !errors.As(err, &config) {
		t.Errorf("Resize(2) of a sequential pool: got %v, want a ConfigError", err)
	}
	p.Close()
	if err := p.Resize(2); !errors.Is(err, host.ErrClosed) {
		t.Errorf("Resize(2) of a closed pool: got %v, want ErrClosed", err)
	}
}

func TestAPoolSizesItself(t *testing.T) {
	for _, mode := range sizable {
		t.Run(string(mode), func(t *testing.T) {
			p := open(t, host.Config{Workload: chaos, Mode: mode, Workers: 3, MinWorkers: 1, MaxIdle: 10 * time.Millisecond})
			if n := len(p.Workers()); n != 1 {
				t.Errorf("at the beginning: got %d workers, want 1", n)
			}
			begun, release := await(t, p, 5)
			for i := range 3 {
				begun(i)
			}
			if n := len(p.Workers()); n != 3 {
				t.Errorf("with 5 items: got %d workers, want 3, the most that it may have", n)
			}
			release()
			waitWorkers(t, p, 1)
		})
	}
}

func TestAnIdleWorkerIsReplaced(t *testing.T) {
	p := open(t, host.Config{Workload: half, Workers: 1, MaxIdle: 10 * time.Millisecond})
	if _, err := value(typed[float64, float64](p).Do(t.Context(), 4)); err != nil {
		t.Fatal(err)
	}
	was := p.Workers()[0].PID
	waitGone(t, "a worker that has been idle for too long", was, 10*time.Second)
	if w := waitWorkers(t, p, 1); w[0].PID == was || w[0].PID == os.Getpid() {
		t.Errorf("its successor: got process %d, want another", w[0].PID)
	}
}
