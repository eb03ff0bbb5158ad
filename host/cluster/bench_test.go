package cluster_test

import (
	"encoding/json"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster"
	"github.com/parhost/parhost/host/cluster/server"
	"github.com/parhost/parhost/plugins/sqrt"
)

// benchCluster is a server that syncs each write, and a node with two slots, in this process.
func benchCluster(b *testing.B) *cluster.Cluster {
	b.Helper()
	s, err := server.Open(server.Config{Store: b.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Shutdown)
	join(b, connect(b, s), cluster.NodeConfig{Name: "node", Slots: 2})
	return connect(b, s)
}

// A lone batch: an item is offered when the result of the one before is there. The time is the median, and all of it is the way.
func BenchmarkALoneBatch(b *testing.B) {
	c := benchCluster(b)
	job, err := c.Open(b.Context(), cluster.JobConfig{Config: host.Config{Workload: sqrt.Workload, Batch: 1}})
	if err != nil {
		b.Fatal(err)
	}
	next := make(chan struct{}, 1)
	var took []time.Duration
	began := time.Now()
	next <- struct{}{}
	for _, err := range job.Stream(b.Context(), func(yield func(json.RawMessage) bool) {
		for range next {
			began = time.Now()
			if !yield(json.RawMessage("4")) {
				return
			}
		}
	}) {
		if err != nil {
			b.Fatal(err)
		}
		if took = append(took, time.Since(began)); !b.Loop() {
			break
		}
		next <- struct{}{}
	}
	close(next)
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs/p50")
}

// Batches of 100 items, as many at a time as the submitter has under way.
func BenchmarkBatchesOf100(b *testing.B) {
	c := benchCluster(b)
	job, err := c.Open(b.Context(), cluster.JobConfig{Config: host.Config{Workload: sqrt.Workload, Batch: 100}})
	if err != nil {
		b.Fatal(err)
	}
	var batches iter.Seq[json.RawMessage] = func(yield func(json.RawMessage) bool) {
		for b.Loop() {
			for range 100 {
				if !yield(json.RawMessage("4")) {
					return
				}
			}
		}
	}
	for _, err := range job.Unordered(b.Context(), batches) {
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
}
