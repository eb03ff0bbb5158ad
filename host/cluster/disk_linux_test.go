package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster"
)

// smallDisk mounts a file system of so many bytes, on which a file takes what is left until it is removed.
func smallDisk(t *testing.T, bytes int) (dir string, fill, free func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a small file system")
	}
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("no small file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	fill = func() {
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for block := make([]byte, 64<<10); err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	return dir, fill, func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
}

// The disk of a server is full in the middle of a run. The server and the nodes say so, and the run goes on when there is room and the server is started again:
// a stream that could not be written stores nothing until then.
func TestARunOutlivesAFullDisk(t *testing.T) {
	long(t)
	t.Parallel()
	const items, bytes = 150, 300 << 10
	r := &rig{t: t}
	dir, fill, free := smallDisk(t, 256<<20)
	r.store, r.max = filepath.Join(dir, "store"), 200<<20
	r.open(1, 2)
	ctx, cancel := context.WithTimeoutCause(t.Context(), faultTime, fmt.Errorf("not done after %v", faultTime))
	defer cancel()
	job, err := r.connect().Open(ctx, cluster.JobConfig{Config: host.Config{Workload: large}})
	if err != nil {
		t.Fatal(err)
	}
	next, began := 0, time.Now()
	var struck time.Time
	for got, err := range job.Stream(ctx, texts(items, bytes)) {
		if err != nil {
			t.Fatalf("after %d results: %v", next, err)
		}
		if want := quoted(next, bytes, "X"); got.Err != nil || got.Index != next || string(got.Value) != want {
			t.Fatalf("item %d: got %d bytes and the error %v, want %d bytes of its own", next, len(got.Value), got.Err, len(want))
		}
		if next++; next == items/5 {
			says := map[string]<-chan struct{}{"server": r.servers[0].log.says("make room, and start the server again"), "node": r.nodes[0].log.says("results cannot be stored"), "other node": r.nodes[1].log.says("results cannot be stored")}
			fill()
			struck = time.Now()
			for who, said := range says {
				select {
				case <-said:
					t.Logf("the %s says it after %v", who, time.Since(struck).Round(time.Millisecond))
				case <-time.After(30 * time.Second):
					t.Errorf("the disk is full, and the %s does not say so", who)
				}
			}
			free()
			r.servers[0].kill(t)
			r.serve(0)
		}
	}
	if next != items {
		t.Fatalf("got %d results, want %d", next, items)
	}
	t.Logf("%v, of which %v after the disk was full", time.Since(began), time.Since(struck))
}

// What a server may store is used up. The nodes say so, and the run goes on when the server may store more.
func TestARunOutlivesAFullStore(t *testing.T) {
	long(t)
	t.Parallel()
	const items, bytes = 40, 1 << 20
	r := &rig{t: t, max: 24 << 20}
	r.open(1, 2)
	ctx, cancel := context.WithTimeoutCause(t.Context(), faultTime, fmt.Errorf("not done after %v", faultTime))
	defer cancel()
	job, err := r.connect().Open(ctx, cluster.JobConfig{Config: host.Config{Workload: large}})
	if err != nil {
		t.Fatal(err)
	}
	mended := make(chan time.Duration, 1)
	said, began := r.nodes[0].log.says("results cannot be stored"), time.Now()
	go func() {
		select {
		case <-said:
		case <-ctx.Done():
			return
		}
		after := time.Since(began)
		r.servers[0].signal(syscall.SIGKILL)
		<-r.servers[0].gone
		r.configs[0].MaxStore = 1 << 30
		r.serve(0)
		mended <- after
	}()
	next := 0
	for got, err := range job.Stream(ctx, texts(items, bytes)) {
		if err != nil {
			t.Fatalf("after %d results: %v", next, err)
		}
		if want := quoted(next, bytes, "X"); got.Err != nil || got.Index != next || string(got.Value) != want {
			t.Fatalf("item %d: got %d bytes and the error %v, want %d bytes of its own", next, len(got.Value), got.Err, len(want))
		}
		next++
	}
	if next != items {
		t.Fatalf("got %d results, want %d", next, items)
	}
	select {
	case after := <-mended:
		t.Logf("%v; the store was full, and a node said so, after %v", time.Since(began), after)
	default:
		t.Error("the store was never full: it proves nothing")
	}
}
