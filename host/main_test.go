package host_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/sdk"
)

// Variables that give a child of the tests another part to play.
const (
	fakeEnv = "PARHOST_TEST_FAKE" // a plugin that breaks its promises: a name in fakes
	liesEnv = "PARHOST_TEST_LIES" // a plugin that does so at some starts, see nextLie
	hostEnv = "PARHOST_TEST_HOST" // a host of its own: a name in hosts
	// a process that somebody leaves behind, see daemon
	daemonEnv = "PARHOST_TEST_DAEMON"
	// where a worker finds this program that cannot see which one it is itself
	selfEnv = "PARHOST_TEST_SELF"
	// in the environment of all processes of a test, and of what they start: by it they are found, wherever they have gone
	markEnv = "PARHOST_TEST_MARK"
)

var marks atomic.Int64

// newMark returns a mark for the processes of a test, and the variable that gives it to them.
func newMark() (mark, env string) {
	mark = fmt.Sprintf("%d-%d", os.Getpid(), marks.Add(1))
	return mark, markEnv + "=" + mark
}

// What keeps a process that is built with the race detector from waiting for a second before it exits. Hosts hand it on to their workers.
const (
	raceKey   = "GORACE"
	raceValue = "atexit_sleep_ms=0"
)

// The test binary is also the plugin, the plugins that lie, and the hosts that come to harm.
func TestMain(m *testing.M) {
	fake, ok := fakes[os.Getenv(fakeEnv)]
	if !ok {
		fake, ok = fakes[nextLie()]
	}
	if ok {
		fake()
		os.Exit(0)
	}
	if part := os.Getenv(daemonEnv); part != "" {
		beDaemon(part)
		os.Exit(0)
	}
	if run, ok := hostsWithoutGuard[os.Getenv(hostEnv)]; ok {
		run()
		os.Exit(0)
	}
	sdk.ServeChild(workloads...)
	if run, ok := hosts[os.Getenv(hostEnv)]; ok {
		run()
		os.Exit(0)
	}
	if err := os.Setenv(raceKey, raceValue); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// needUnix skips a test of what Windows does not have.
func needUnix(t *testing.T, what string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not have " + what)
	}
}

// modes are the modes that keep the same promises.
var modes = []host.Mode{host.ModeProcess, host.ModeGoroutine, host.ModeSequential}

// pools runs a test on a pool in every mode, and on processes that share no memory with their host.
func pools(t *testing.T, cfg host.Config, test func(t *testing.T, p *host.Pool)) {
	t.Helper()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			cfg := cfg
			cfg.Mode = mode
			test(t, open(t, cfg))
		})
	}
	t.Run("process, inline", func(t *testing.T) {
		cfg := cfg
		cfg.Mode, cfg.Inline = host.ModeProcess, true
		test(t, open(t, cfg))
	})
}

// open opens a pool for the length of the test. It skips a test whose sandbox this machine cannot give.
func open(t testing.TB, cfg host.Config) *host.Pool {
	t.Helper()
	if cfg.Workers == 0 {
		cfg.Workers = 2
	}
	p, err := host.Open(t.Context(), cfg)
	if errors.Is(err, sandbox.ErrNotSupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("Open: got the error %v", err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// itemError returns what err says of an item, and fails the test if it says nothing of the kind wanted.
func itemError(t *testing.T, what string, err error, kind host.Kind) *host.ItemError {
	t.Helper()
	e, ok := errors.AsType[*host.ItemError](err)
	if !ok || e.Kind != kind {
		t.Fatalf("%s: got %v, want an item error of kind %s", what, err, kind)
	}
	return e
}

// mapErrors returns the errors of items that Map returned, by index.
func mapErrors(t *testing.T, what string, err error) map[int]*host.ItemError {
	t.Helper()
	byIndex := map[int]*host.ItemError{}
	if err == nil {
		return byIndex
	}
	e, ok := errors.AsType[*host.MapError](err)
	if !ok {
		t.Fatalf("%s: got %v, want no error but a MapError", what, err)
	}
	for _, e := range e.Errs {
		if byIndex[e.Index] != nil {
			t.Errorf("%s: item %d has two errors", what, e.Index)
		}
		byIndex[e.Index] = e
	}
	return byIndex
}

// indexes are the sorted keys of errs.
func indexes(errs map[int]*host.ItemError) []int { return slices.Sorted(maps.Keys(errs)) }

// within fails the test if f takes longer than limit.
func within(t *testing.T, what string, limit time.Duration, f func()) {
	t.Helper()
	begun := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit + 10*time.Second):
		t.Fatalf("%s: not done after %v, want at most %v", what, limit+10*time.Second, limit)
	}
	if took := time.Since(begun); took > limit {
		t.Errorf("%s: took %v, want at most %v", what, took, limit)
	}
}

// upTo returns the numbers 0 to n-1.
func upTo(n int) []float64 {
	items := make([]float64, n)
	for i := range items {
		items[i] = float64(i)
	}
	return items
}

// waitFile waits for an item to say that it has begun, and removeWhenThere tells it to end.
func waitFile(t testing.TB, path string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(2 * time.Millisecond); ; <-tick.C {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("no item has written %s", path)
			return
		}
	}
}

// waitNoFile waits for a file to go.
func waitNoFile(t testing.TB, path string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(2 * time.Millisecond); ; <-tick.C {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s is still there", path)
			return
		}
	}
}

func removeWhenThere(t testing.TB, path string) {
	t.Helper()
	waitFile(t, path)
	err := os.Remove(path)
	for deadline := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(deadline); err = os.Remove(path) {
		time.Sleep(time.Millisecond) // Windows removes none that somebody is looking at just then
	}
	if err != nil {
		t.Fatal(err)
	}
}

// typed gives a pool types. Other kinds than the workload's travel as JSON.
func typed[In, Out any](p *host.Pool) *host.Typed[In, Out] { return host.BindJSON[In, Out](p) }

// value returns the value of a result.
func value[Out any](r host.Result[Out], err error) (Out, error) { return r.Value, err }
