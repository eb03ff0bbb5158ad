package cluster_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster"
	"github.com/parhost/parhost/protocol"
)

// supervise starts a node again whenever it dies, as the supervisor of a machine would, until stop is called. It counts the deaths.
func (r *rig) supervise() (deaths func() int, stop func()) {
	var running sync.WaitGroup
	var mu sync.Mutex
	n := 0
	over := make(chan struct{})
	for i := range r.nodes {
		running.Go(func() {
			for {
				select {
				case <-r.nodes[i].gone:
				case <-over:
					return
				}
				mu.Lock()
				n++
				mu.Unlock()
				r.rejoin(i)
			}
		})
	}
	deaths = func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
	return deaths, func() {
		close(over)
		running.Wait()
	}
}

// An item that kills the node that runs it costs only itself, whoever runs beside it when it does.
func TestAnItemThatKillsNodesFailsAlone(t *testing.T) {
	for name, c := range map[string]struct{ items, batch, poisoned, every int }{
		"one among many":            {items: 300, batch: 10, poisoned: 1, every: 300},
		"one in a batch of its own": {items: 60, batch: 1, poisoned: 1, every: 60},
		"three":                     {items: 300, batch: 10, poisoned: 3, every: 100},
	} {
		t.Run(name, func(t *testing.T) {
			if c.batch > 1 {
				long(t)
			}
			t.Parallel()
			r := newRig(t, 1, 3)
			deaths, stop := r.supervise()
			defer stop()
			ctx, cancel := context.WithTimeoutCause(t.Context(), 2*faultTime, fmt.Errorf("not done after %v", 2*faultTime))
			defer cancel()
			job, err := r.connect().Open(ctx, cluster.JobConfig{Config: host.Config{Workload: poison, Batch: c.batch}, Metadata: map[string]string{"every": strconv.Itoa(c.every)}})
			if err != nil {
				t.Fatal(err)
			}
			next, failed, began := 0, 0, time.Now()
			for got, err := range job.Stream(ctx, numbers(c.items)) {
				if err != nil {
					t.Fatalf("after %d results and %d deaths of nodes: %v", next, deaths(), err)
				}
				switch bad := next%c.every == c.every/2; {
				case got.Index != next:
					t.Fatalf("got item %d, want %d", got.Index, next)
				case bad && (got.Err == nil || got.Err.Kind != protocol.KindCrashed):
					t.Errorf("item %d, which kills nodes: got %+v, want that it crashed", next, got)
				case !bad && (got.Err != nil || string(got.Value) != strconv.Itoa(2*next)):
					t.Errorf("item %d, which is good: got %s and the error %v", next, got.Value, got.Err)
				}
				if got.Err != nil {
					failed++
				}
				next++
			}
			if next != c.items || failed != c.poisoned {
				t.Errorf("got %d results with %d failures, want %d with %d", next, failed, c.items, c.poisoned)
			}
			t.Logf("%d items of which %d kill nodes: %d deaths of nodes, %v", c.items, c.poisoned, deaths(), time.Since(began).Round(time.Millisecond))
		})
	}
}
