//go:build unix

package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster"
)

func TestARunOutlivesAServerThatStops(t *testing.T) {
	long(t)
	t.Parallel()
	const stopped = 15 * time.Second
	r := newRig(t, 3, 3)
	silence := r.run(4000, func() {
		s := r.servers[r.leader("PH_WORK")]
		s.signal(syscall.SIGSTOP)
		timer := time.AfterFunc(stopped, func() { s.signal(syscall.SIGCONT) })
		t.Cleanup(func() { timer.Stop() })
	})
	if silence > stopped-time.Second {
		t.Errorf("nothing came for %v, want that the other servers go on while one is stopped, for %v", silence, stopped)
	}
}

func TestARunOutlivesItsServerThatStops(t *testing.T) {
	long(t)
	t.Parallel()
	r := newRig(t, 1, 2)
	r.run(2000, func() {
		r.servers[0].signal(syscall.SIGSTOP)
		timer := time.AfterFunc(15*time.Second, func() { r.servers[0].signal(syscall.SIGCONT) })
		t.Cleanup(func() { timer.Stop() })
	})
}

// A node is stopped while it stores a result: its server is stopped first, so that no result of the node can be stored.
func TestARunOutlivesANodeThatStopsWhileItStores(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 2)
	r.run(2000, func() {
		storing := r.nodes[0].log.says("a result could not be stored")
		r.servers[0].signal(syscall.SIGSTOP)
		select {
		case <-storing:
		case <-time.After(30 * time.Second):
			t.Error("the node did not try to store a result")
		}
		r.nodes[0].signal(syscall.SIGSTOP)
		r.servers[0].signal(syscall.SIGCONT)
		timer := time.AfterFunc(3*lease, func() { r.nodes[0].signal(syscall.SIGCONT) })
		t.Cleanup(func() { timer.Stop() })
	})
}

func TestARunWaitsForRoomInTheQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 0)
	err := cluster.MakeStream(t.Context(), r.url, jetstream.StreamConfig{
		Name: "PH_WORK", Subjects: []string{"ph.work.>"}, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, MaxMsgsPerSubject: 1, MaxMsgs: 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	full := r.servers[0].log.says("maximum messages exceeded")
	r.join()
	r.join()
	r.run(2000, func() {
		select {
		case <-full:
		default:
			t.Error("the queue was never full: it proves nothing")
		}
	})
}

func TestARunOfLargeItems(t *testing.T) {
	for _, c := range []struct{ items, bytes int }{{60, 1 << 20}, {12, 8 << 20}} {
		t.Run(fmt.Sprintf("%d MiB", c.bytes>>20), func(t *testing.T) {
			if c.bytes < 8<<20 {
				long(t)
			}
			t.Parallel()
			r := newRig(t, 1, 2)
			ctx, cancel := context.WithTimeoutCause(t.Context(), faultTime, fmt.Errorf("not done after %v", faultTime))
			defer cancel()
			job, err := r.connect().Open(ctx, cluster.JobConfig{Config: host.Config{Workload: large}})
			if err != nil {
				t.Fatal(err)
			}
			next, began := 0, time.Now()
			for got, err := range job.Stream(ctx, texts(c.items, c.bytes)) {
				if err != nil {
					t.Fatalf("after %d results: %v", next, err)
				}
				if want := quoted(next, c.bytes, "X"); got.Err != nil || got.Index != next || string(got.Value) != want {
					t.Fatalf("item %d: got %d bytes and the error %v, want %d bytes of its own", next, len(got.Value), got.Err, len(want))
				}
				if next++; next == c.items/4 {
					r.nodes[0].kill(t)
					r.servers[0].kill(t)
					r.serve(0)
				}
			}
			if next != c.items {
				t.Fatalf("got %d results, want %d", next, c.items)
			}
			t.Log(time.Since(began))
		})
	}
}

// texts returns texts of so many bytes, no two of which are the same.
func texts(n, bytes int) func(func(json.RawMessage) bool) {
	return func(yield func(json.RawMessage) bool) {
		for i := range n {
			if !yield(json.RawMessage(quoted(i, bytes, "x"))) {
				return
			}
		}
	}
}

func quoted(i, bytes int, letter string) string {
	head := fmt.Sprintf(`"%d`, i)
	return head + strings.Repeat(letter, bytes-len(head)-1) + `"`
}

func TestARunOutlivesItsServerAndANode(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 2)
	r.run(2000, func() {
		r.nodes[0].kill(t)
		r.servers[0].kill(t)
		r.serve(0)
	})
}
