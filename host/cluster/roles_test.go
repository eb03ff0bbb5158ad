package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster"
	"github.com/parhost/parhost/host/cluster/server"
	"github.com/parhost/parhost/sdk"
)

// slow takes some milliseconds, so that a run lasts long enough for something to break in its middle.
var slow = sdk.Func("slow", func(ctx context.Context, n int64) (int64, error) {
	if err := ran(ctx, n); err != nil {
		return 0, err
	}
	select {
	case <-time.After(itemTime):
		return 2 * n, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}).With(sdk.Manifest{Idempotent: true})

// large has results that are as long as its items.
var large = sdk.Func("large", func(_ context.Context, text string) (string, error) {
	return strings.ToUpper(text), nil
}).With(sdk.Manifest{Idempotent: true})

// poison is slow, and kills the node that runs it when it comes to the item in the middle of each so many, which the job's metadata says.
var poison = sdk.Func("poison", func(ctx context.Context, n int64) (int64, error) {
	if every, err := strconv.ParseInt(sdk.Metadata(ctx)["every"], 10, 64); err == nil && n%every == every/2 {
		node, err := os.FindProcess(os.Getppid())
		if err == nil {
			err = node.Kill()
		}
		return 0, err
	}
	time.Sleep(itemTime)
	return 2 * n, nil
}).With(sdk.Manifest{Idempotent: true})

// unknown is a workload that no node has.
var unknown = sdk.Func("unknown", func(_ context.Context, n int64) (int64, error) { return n, nil })

const itemTime = 5 * time.Millisecond

// role is what a process of the tests does, in place of running tests.
type role struct {
	Server *serverRole `json:",omitempty"`
	Node   *nodeRole   `json:",omitempty"`
	Submit *submitRole `json:",omitempty"`
	Leader *leaderRole `json:",omitempty"`
}

type serverRole struct {
	Listen, Store, Name, PeerListen string
	Peers                           []string
	MaxStore                        int64
}

type nodeRole struct {
	URL, Name, Cache string
	Slots            int
}

type submitRole struct {
	URL, Job string
	Items    int
	Batch    int
	Ran      string // file in which slow notes what it runs
}

// leaderRole prints which server leads a stream.
type leaderRole struct{ URL, Stream string }

const roleEnv = "PARHOST_TEST_ROLE"

// playRole plays the role of the environment until a signal comes. It prints a line when it has begun, and a submitter prints its results.
func playRole() {
	text := os.Getenv(roleEnv)
	if text == "" {
		return
	}
	_ = os.Unsetenv(roleEnv) // workers inherit the environment
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := r.play(ctx); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (r *role) play(ctx context.Context) error {
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: os.Stderr})
	switch {
	case r.Server != nil:
		s, err := server.Open(server.Config{
			Listen: r.Server.Listen, Store: r.Server.Store, Name: r.Server.Name, PeerListen: r.Server.PeerListen, Peers: r.Server.Peers, MaxStore: r.Server.MaxStore, Logger: log.Named("server"),
		})
		if err != nil {
			return err
		}
		defer s.Shutdown()
		fmt.Println(s.URL())
		<-ctx.Done()
		return nil
	case r.Node != nil:
		c, err := cluster.Connect(ctx, cluster.Config{URL: r.Node.URL, LeaseTime: lease, Logger: log})
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Println("ready")
		return c.Serve(ctx, cluster.NodeConfig{Name: r.Node.Name, Slots: r.Node.Slots, Workloads: workloads, CacheDir: r.Node.Cache, Logger: log})
	case r.Leader != nil:
		name, err := cluster.Leader(ctx, r.Leader.URL, r.Leader.Stream)
		fmt.Println("leader", name)
		return err
	default:
		c, err := cluster.Connect(ctx, cluster.Config{URL: r.Submit.URL, LeaseTime: lease, Logger: log})
		if err != nil {
			return err
		}
		defer c.Close()
		job, err := c.Open(ctx, cluster.JobConfig{ID: r.Submit.Job, Config: host.Config{Workload: slow, Batch: r.Submit.Batch}, Metadata: noteIn(r.Submit.Ran)})
		if err != nil {
			return err
		}
		for got, err := range job.Stream(ctx, numbers(r.Submit.Items)) {
			if err != nil {
				return err
			}
			if got.Err != nil {
				return got.Err
			}
			fmt.Println(got.Index, string(got.Value), got.PID)
		}
		return nil
	}
}

// lease is the lease time of the tests: the shortest.
const lease = 2 * time.Second

// actor is a process that plays a role.
type actor struct {
	*exec.Cmd
	log   *lastLines  // its stderr
	lines chan string // of its stdout; closed at its end
	gone  chan struct{}
}

// start starts a process in a role, and waits for its first line if it is no submitter. The prefix is a command that becomes the one of its arguments.
func start(t *testing.T, r role, prefix ...string) *actor {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	command := append(prefix, os.Args[0])
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), roleEnv+"="+string(text))
	a := launch(t, cmd)
	if r.Submit == nil && r.Leader == nil {
		a.await(t, func(string) bool { return true })
	}
	return a
}

// launch starts a process that is killed at the end of the test. What it wrote to stderr is shown if the test fails.
func launch(t *testing.T, cmd *exec.Cmd) *actor {
	t.Helper()
	a := &actor{Cmd: cmd, log: &lastLines{}, lines: make(chan string, 1<<16), gone: make(chan struct{})}
	out, err := a.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	a.Stderr = a.log
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(a.gone)
		s := bufio.NewScanner(out)
		for s.Scan() {
			a.lines <- s.Text()
		}
		close(a.lines)
		_ = a.Wait()
	}()
	t.Cleanup(func() {
		_ = a.Process.Kill()
		<-a.gone
		if t.Failed() {
			t.Logf("process %d, %v:\n%s", a.Process.Pid, cmd.Args, a.log)
		}
	})
	return a
}

// await waits for a line for which is holds.
func (a *actor) await(t *testing.T, is func(line string) bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		select {
		case line, ok := <-a.lines:
			if !ok || strings.HasPrefix(line, "failed") {
				t.Fatalf("a process did not begin: %q\n%s", line, a.log)
			}
			if is(line) {
				return
			}
		case <-late:
			t.Fatalf("a process did not begin within 30s\n%s", a.log)
		}
	}
}

// signal sends a signal to the process, if it is still there.
func (a *actor) signal(s syscall.Signal) { _ = a.Process.Signal(s) }

// kill kills the process and waits for its end.
func (a *actor) kill(t *testing.T) {
	t.Helper()
	if err := a.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-a.gone
}

// lastLines keeps the end of what a process logs.
type lastLines struct {
	mu   sync.Mutex
	text []byte
	wait map[string]chan struct{} // closed when the text comes
}

func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	for text, there := range l.wait {
		if bytes.Contains(l.text, []byte(text)) {
			close(there)
			delete(l.wait, text)
		}
	}
	if len(l.text) > 256<<10 {
		l.text = l.text[len(l.text)-16<<10:]
	}
	return len(p), nil
}

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// says returns a channel that is closed when a text comes.
func (l *lastLines) says(text string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wait == nil {
		l.wait = map[string]chan struct{}{}
	}
	there := make(chan struct{})
	l.wait[text] = there
	return there
}

// noteIn returns the metadata by which slow notes in a file what it runs.
func noteIn(path string) map[string]string { return map[string]string{"ran": path} }

// ran notes that this worker runs an item, with its own process and the node's. A line goes to the file in one write, which others do not come between.
func ran(ctx context.Context, n int64) error {
	path := sdk.Metadata(ctx)["ran"]
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d %d %d\n", n, os.Getpid(), os.Getppid())
	return errors.Join(err, f.Close())
}

// execution is a line that ran has written.
type execution struct{ item, worker, node int }

func executions(t *testing.T, path string) (all []execution) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e execution
		if _, err := fmt.Sscan(line, &e.item, &e.worker, &e.node); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// freePort returns an address at which nobody listens. Another process could take it meanwhile, which a test would report as a server that does not start.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
