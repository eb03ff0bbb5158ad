//go:build linux

package sandbox_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/protocol"
)

// Variables of a copy of the test binary that runs as another process.
const (
	hostileEnv = "SANDBOX_TEST_HOSTILE" // path of the built hostile plugin
	roleEnv    = "SANDBOX_TEST_ROLE"    // a name in roles: the copy acts as this host
)

// roles are the hosts that tests run in a process of their own.
var roles = map[string]func() error{"doomed": doomedHost, "finished": finishedHost, "crowded": crowdedHost}

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleEnv)]; ok {
		if err := role(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if os.Getenv(hostileEnv) == "" {
			if path, err := hostile(); err == nil {
				_ = os.RemoveAll(filepath.Dir(path))
			}
		}
		os.Exit(code)
	}))
}

// hostile builds the hostile plugin once and returns its path.
var hostile = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(hostileEnv); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "parhost-hostile-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "hostile")
	if err := build(path, "./testdata/hostile", "CGO_ENABLED=0"); err != nil {
		return "", err
	}
	return path, os.Chmod(dir, 0o755)
})

func build(path, pkg string, env ...string) error {
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// spawner returns a function that runs others on one thread. The thread lives as long as the test.
func spawner(t testing.TB) func(f func() error) error {
	jobs, done := make(chan func()), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		for job := range jobs {
			job()
		}
	}()
	t.Cleanup(func() {
		close(jobs)
		<-done
	})
	return func(f func() error) error {
		result := make(chan error)
		jobs <- func() { result <- f() }
		return <-result
	}
}

// worker is a process in a box.
type worker struct {
	t      testing.TB
	launch *sandbox.Launch
	cmd    *exec.Cmd
	out    *bufio.Reader
	stderr *strings.Builder
	until  *os.File // the write end of the pipe that a waiting process reads
	killed bool
	ended  chan struct{}
}

// policyBox opens a box for the duration of the test. It skips the test if the machine cannot provide it.
func policyBox(t testing.TB, policy sandbox.Policy, without ...string) *sandbox.Box {
	t.Helper()
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	err = sandbox.Rehearsed(t.Context(), policy.Level)
	var b *sandbox.Box
	if err == nil {
		b, err = sandbox.OpenWithout(policy, plugin, without...)
	}
	if errors.Is(err, sandbox.ErrNotSupported) && os.Geteuid() != 0 {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("Open %+v: got the error %v", policy, err)
	}
	t.Cleanup(b.Close)
	return b
}

// start starts the hostile plugin.
func start(t testing.TB, b *sandbox.Box, env []string, args ...string) *worker {
	t.Helper()
	w, err := tryStart(t, b, env, args...)
	if err != nil {
		t.Fatalf("start %q: got the error %v", args, err)
	}
	return w
}

func tryStart(t testing.TB, b *sandbox.Box, env []string, args ...string) (*worker, error) {
	t.Helper()
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(plugin, args...)
	cmd.Env = append([]string{"GOTRACEBACK=none"}, env...)
	return startCmd(t, b, cmd, spawner(t))
}

func startCmd(t testing.TB, b *sandbox.Box, cmd *exec.Cmd, spawn func(func() error) error) (*worker, error) {
	t.Helper()
	w := &worker{t: t, cmd: cmd, stderr: &strings.Builder{}, ended: make(chan struct{})}
	r, until, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.until, w.out = until, bufio.NewReader(out)
	cmd.ExtraFiles = append([]*os.File{r}, cmd.ExtraFiles...)
	cmd.Stdout, cmd.Stderr = stdout, w.stderr
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	t.Cleanup(func() { _, _ = until.Close(), out.Close() })
	w.launch, err = b.Wrap(cmd, 1)
	if err != nil {
		_, _ = r.Close(), stdout.Close()
		return nil, err
	}
	err = w.launch.StartError(spawn(cmd.Start))
	_, _ = r.Close(), stdout.Close()
	if err != nil {
		w.launch.Close()
		return nil, err
	}
	go func() {
		defer close(w.ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(w.bury)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return w, w.launch.Confirm(ctx)
}

// bury kills the process and closes its launch.
func (w *worker) bury() {
	select {
	case <-w.ended:
	default:
		w.killed = true
		_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
	}
	w.launch.Kill()
	<-w.ended
	w.launch.Close()
}

// line reads one line of the process's output.
func (w *worker) line() string {
	w.t.Helper()
	s, err := w.out.ReadString('\n')
	if err != nil {
		w.bury() // so that nobody writes to stderr any more
		w.t.Fatalf("%q: got %v, want a line; stderr: %s", w.cmd.Args, err, w.stderr)
	}
	return strings.TrimSuffix(s, "\n")
}

// rest reads the process's output until it ends, and returns it with the death.
func (w *worker) rest() (string, sandbox.Death) {
	w.t.Helper()
	b, err := io.ReadAll(w.out)
	if err != nil {
		w.t.Fatal(err)
	}
	<-w.ended
	return string(b), w.launch.Death(w.cmd.ProcessState, w.killed)
}

// table reads the rest of the output as lines with a name and a value.
func (w *worker) table() map[string]string {
	w.t.Helper()
	text, death := w.rest()
	if death.Cause != protocol.CauseExit || death.Code != 0 {
		w.t.Fatalf("got the death %v, want exit code 0; stderr: %s", death, w.stderr)
	}
	values := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "\t")
		values[name] = value
	}
	return values
}

// within waits until done returns true. It returns false if that does not happen within limit.
func within(limit time.Duration, done func() bool) bool {
	deadline := time.After(limit)
	for tick := time.Tick(time.Millisecond); !done(); {
		select {
		case <-tick:
		case <-deadline:
			return false
		}
	}
	return true
}

// levels runs a test at each level.
func levels(t *testing.T, test func(t *testing.T, level sandbox.Level)) {
	for _, level := range []sandbox.Level{sandbox.Off, sandbox.Basic, sandbox.Strict} {
		t.Run(level.String(), func(t *testing.T) { test(t, level) })
	}
}
