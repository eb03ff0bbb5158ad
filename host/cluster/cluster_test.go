package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster"
	"github.com/parhost/parhost/host/cluster/server"
	"github.com/parhost/parhost/plugins/sleep"
	"github.com/parhost/parhost/plugins/sqrt"
	"github.com/parhost/parhost/sdk"
)

var workloads = []sdk.AnyWorkload{sqrt.Workload, sleep.Workload, slow, large, poison}

func TestMain(m *testing.M) {
	sdk.ServeChild(workloads...)
	playRole() // as a server, a node or a submitter; does not return if it is one
	goleak.VerifyTestMain(m)
}

func serve(t testing.TB) *server.Server {
	t.Helper()
	s, err := server.Open(server.Config{Store: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t testing.TB, s *server.Server) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Connect(t.Context(), cluster.Config{URL: s.URL(), Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: t.Output()})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// join makes this process a node until the test ends.
func join(t testing.TB, c *cluster.Cluster, cfg cluster.NodeConfig) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg.Workloads = workloads
	if cfg.CacheDir == "" {
		cfg.CacheDir = t.TempDir()
	}
	go func() { done <- c.Serve(ctx, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("node: %v", err)
		}
	})
}

func numbers(n int) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for i := range n {
			if !yield(json.RawMessage(strconv.Itoa(i))) {
				return
			}
		}
	}
}

func TestAJobHasTheResultsOfALocalRun(t *testing.T) {
	s := serve(t)
	for i := range 2 {
		join(t, connect(t, s), cluster.NodeConfig{Name: fmt.Sprint("node", i), Slots: 1})
	}
	job, err := connect(t, s).Open(t.Context(), cluster.JobConfig{Config: host.Config{Workload: sqrt.Workload}})
	if err != nil {
		t.Fatal(err)
	}
	const items = 100_000
	next := 0
	began := time.Now()
	for r, err := range job.Stream(t.Context(), numbers(items)) {
		if err != nil {
			t.Fatal(err)
		}
		var got float64
		if r.Err != nil || r.Index != next || json.Unmarshal(r.Value, &got) != nil || got != math.Sqrt(float64(next)) {
			t.Fatalf("got %+v, want the root of %d", r, next)
		}
		next++
	}
	t.Log(time.Since(began))
	if next != items {
		t.Fatalf("got %d results, want %d", next, items)
	}
}

func TestStopLetsBatchesEndThatRun(t *testing.T) {
	s := serve(t)
	join(t, connect(t, s), cluster.NodeConfig{Name: "node", Slots: 2})
	c := connect(t, s)
	job, err := c.Open(t.Context(), cluster.JobConfig{Config: host.Config{Workload: slow, Batch: 20}})
	if err != nil {
		t.Fatal(err)
	}
	next, atStop := 0, 0
	var last error
	for r, err := range job.Stream(t.Context(), numbers(2000)) {
		if err != nil {
			last = err
			break
		}
		if r.Index != next || r.Err != nil {
			t.Fatalf("got %+v, want item %d", r, next)
		}
		if next++; next == 100 {
			atStop = next
			job.Stop()
		}
	}
	if !errors.Is(last, host.ErrClosed) || next <= atStop || next == 2000 {
		t.Errorf("got %d results, of which %d before the stop, and the error %v; want some more than these, and ErrClosed", next, atStop, last)
	}
	if q, err := c.Queue(t.Context(), "default"); err != nil || q.Waiting != 0 {
		t.Errorf("got the queue %+v and %v, want nothing that waits", q, err)
	}
}
