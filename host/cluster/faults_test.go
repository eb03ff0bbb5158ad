//go:build unix

package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster"
)

// faultTime is how long a run with a fault may take: longer is a hang.
const faultTime = 2 * time.Minute

var longFaults = flag.Bool("long", false, "also run the tests of faults that take long")

// long skips a test unless all tests of faults are wanted.
func long(t *testing.T) {
	t.Helper()
	if !*longFaults {
		t.Skip("it takes long (-long)")
	}
}

// rig is servers and nodes as processes.
type rig struct {
	t       *testing.T
	configs []serverRole
	servers []*actor
	nodes   []*actor
	roles   []nodeRole
	url     string
	ran     string   // file in which slow notes what it runs
	store   string   // where each server stores; empty for a folder of the test
	max     int64    // bytes that each server stores at most
	stock   string   // the nats-server that plays the servers; empty for our own
	in      []string // network namespaces: server i and node i run in in[i]. Without any, all processes share the test's network
}

// newRig starts servers, and nodes with two slots each.
func newRig(t *testing.T, servers, nodes int) *rig {
	t.Helper()
	r := &rig{t: t}
	r.open(servers, nodes)
	return r
}

func (r *rig) open(servers, nodes int) {
	r.t.Helper()
	r.ran = filepath.Join(r.t.TempDir(), "ran")
	var urls, peers []string
	for i := range servers {
		peers = append(peers, r.address(i, 6222))
	}
	for i := range servers {
		cfg := serverRole{Listen: r.address(i, 4222), Store: r.store, Name: fmt.Sprint("server", i), MaxStore: r.max}
		if r.store == "" {
			cfg.Store = filepath.Join(r.t.TempDir(), "store")
		}
		if servers > 1 {
			cfg.PeerListen, cfg.Peers = peers[i], peers
		}
		r.configs = append(r.configs, cfg)
		urls = append(urls, "nats://"+cfg.Listen)
		r.servers = append(r.servers, nil)
		r.serve(i)
	}
	r.url = strings.Join(urls, ",")
	for range nodes {
		r.join()
	}
}

// address returns where a server listens: at this port in a namespace of its own, and anywhere else.
func (r *rig) address(i, port int) string {
	if len(r.in) > 0 {
		return fmt.Sprintf("10.0.0.%d:%d", i+1, port)
	}
	return freePort(r.t)
}

// serve starts a server, for the first time or again.
func (r *rig) serve(i int) {
	r.t.Helper()
	if r.stock != "" {
		host, port, _ := net.SplitHostPort(r.configs[i].Listen)
		r.servers[i] = launch(r.t, exec.Command("sh", "-c", `exec "$0" "$@" 2>&1`, r.stock, "-a", host, "-p", port, "-js", "-sd", r.configs[i].Store))
		r.servers[i].await(r.t, func(line string) bool { return strings.Contains(line, "Server is ready") })
		return
	}
	r.servers[i] = start(r.t, role{Server: &r.configs[i]}, r.prefix(i)...)
}

// join adds a node.
func (r *rig) join() {
	r.t.Helper()
	r.roles = append(r.roles, nodeRole{URL: r.url, Name: fmt.Sprint("node", len(r.nodes)), Slots: 2, Cache: r.t.TempDir()})
	r.nodes = append(r.nodes, nil)
	r.rejoin(len(r.nodes) - 1)
}

// rejoin starts a node, for the first time or again.
func (r *rig) rejoin(i int) {
	r.t.Helper()
	r.nodes[i] = start(r.t, role{Node: &r.roles[i]}, r.prefix(i)...)
}

func (r *rig) prefix(i int) []string {
	if len(r.in) == 0 {
		return nil
	}
	return []string{"ip", "netns", "exec", r.in[i]}
}

// connect connects the test's own process.
func (r *rig) connect() *cluster.Cluster {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	c, err := cluster.Connect(ctx, cluster.Config{URL: r.url, LeaseTime: lease, Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: r.t.Output()})})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

// run runs a job of so many items, and lets fault happen when a fifth of the results is there. It checks that each result comes once and in order, and that
// at least half of the results came after the fault.
func (r *rig) run(items int, fault func()) (silence time.Duration) {
	t := r.t
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), faultTime, fmt.Errorf("not done after %v", faultTime))
	defer cancel()
	job, err := r.connect().Open(ctx, cluster.JobConfig{Config: host.Config{Workload: slow, Batch: 10}, Metadata: noteIn(r.ran)})
	if err != nil {
		t.Fatal(err)
	}
	next, struck := 0, time.Time{}
	last := time.Now()
	for got, err := range job.Stream(ctx, numbers(items)) {
		if err != nil {
			t.Fatalf("after %d of %d results: %v", next, items, err)
		}
		if got.Err != nil || got.Index != next || string(got.Value) != strconv.Itoa(2*next) {
			t.Fatalf("got %+v, want the double of %d", got, next)
		}
		silence, last = max(silence, time.Since(last)), time.Now()
		if next++; next == items/5 {
			fault()
			struck = time.Now()
			last = struck
		}
	}
	if next != items || struck.IsZero() {
		t.Fatalf("got %d results, want %d", next, items)
	}
	t.Logf("%d items, %d executions; %v after the fault the run was done, and its longest silence was %v", items, len(executions(t, r.ran)), time.Since(struck).Round(time.Millisecond), silence.Round(time.Millisecond))
	return silence
}

func TestARunOutlivesANode(t *testing.T) {
	r := newRig(t, 1, 2)
	r.run(2000, func() { r.nodes[0].kill(t) })
}

func TestARunOutlivesANodeThatStops(t *testing.T) {
	r := newRig(t, 1, 2)
	r.run(2000, func() {
		if err := r.nodes[0].Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(3*lease, func() { _ = r.nodes[0].Process.Signal(syscall.SIGCONT) })
	})
}

func TestARunOutlivesItsServer(t *testing.T) {
	r := newRig(t, 1, 2)
	r.run(2000, func() {
		r.servers[0].kill(t)
		r.serve(0)
	})
}

func TestARunOutlivesTheLossOfAllThatItsServerHad(t *testing.T) {
	r := newRig(t, 1, 2)
	r.run(2000, func() {
		r.servers[0].kill(t)
		if err := os.RemoveAll(r.configs[0].Store); err != nil {
			t.Fatal(err)
		}
		r.serve(0)
	})
}

func TestANodeThatLeavesLosesNothing(t *testing.T) {
	r := newRig(t, 1, 2)
	r.run(2000, func() {
		if err := r.nodes[0].Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	})
	<-r.nodes[0].gone
	if code := r.nodes[0].ProcessState.ExitCode(); code != 0 {
		t.Errorf("the node ended with exit code %d, want 0", code)
	}
}

// isDouble reports whether a submitter's line is the result of an item.
func isDouble(line string, i int) bool {
	return strings.HasPrefix(line, fmt.Sprintf("%d %d ", i, 2*i))
}

func TestASubmitterThatDiesIsFollowedByAnother(t *testing.T) {
	r := newRig(t, 1, 2)
	const items = 2000
	submit := func() *actor {
		return start(t, role{Submit: &submitRole{URL: r.url, Job: "follow", Items: items}})
	}
	first := submit()
	seen := 0
	for range first.lines {
		if seen++; seen == items/5 {
			first.kill(t)
			break
		}
	}
	second := submit()
	next := 0
	timeout := time.After(faultTime)
	for next < items {
		select {
		case line, ok := <-second.lines:
			if !ok || !isDouble(line, next) {
				t.Fatalf("got %q, want the double of %d", line, next)
			}
			next++
		case <-timeout:
			t.Fatalf("%d of %d results after %v", next, items, faultTime)
		}
	}
	<-second.gone
	jobs, err := r.connect().Jobs(t.Context())
	if err != nil || len(jobs) != 1 || jobs[0].State != "done" || jobs[0].Done != items {
		t.Errorf("got the jobs %+v and %v, want one that is done", jobs, err)
	}
}

func TestARunOutlivesTheLeaderOfThreeServers(t *testing.T) {
	r := newRig(t, 3, 3)
	r.run(4000, func() { r.servers[r.leader("PH_WORK")].kill(t) })
}

func TestARunOutlivesAllOfThreeServers(t *testing.T) {
	r := newRig(t, 3, 3)
	r.run(4000, func() {
		for _, s := range r.servers {
			s.kill(t)
		}
		for i := range r.servers {
			r.serve(i)
		}
	})
}

// leader returns which server leads a stream.
func (r *rig) leader(stream string) int {
	r.t.Helper()
	asked := start(r.t, role{Leader: &leaderRole{URL: r.url, Stream: stream}}, r.prefix(0)...)
	name := ""
	asked.await(r.t, func(line string) bool {
		n, _ := fmt.Sscanf(line, "leader %s", &name)
		return n == 1
	})
	for i, cfg := range r.configs {
		if cfg.Name == name {
			return i
		}
	}
	r.t.Fatalf("the leader is %q, none of the servers", name)
	return 0
}
