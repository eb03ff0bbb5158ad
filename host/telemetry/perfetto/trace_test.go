package perfetto_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/telemetry/perfetto"
	"github.com/parhost/parhost/sdk"
)

// flaky fails on item 3, and dies of item 7 until there is the file that it makes then.
var flaky = sdk.Func("flaky", func(_ context.Context, n int) (int, error) {
	time.Sleep(200 * time.Microsecond) // long enough for a slice of its own
	switch n {
	case 3:
		return 0, errors.New("no <b>\xff</b>")
	case 7:
		if f, err := os.OpenFile(os.Getenv("ONCE"), os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			_ = f.Close()
			os.Exit(3)
		}
	}
	return n, nil
})

func TestMain(m *testing.M) {
	sdk.ServeChild(flaky)
	goleak.VerifyTestMain(m)
}

// checked is what testdata/check.py says of a trace.
type checked struct {
	Faults []string
	Tracks []struct {
		Name, Parent string
		Slices       []struct {
			Name  string
			Depth int
			Took  int64
			Notes map[string]any
		}
		Instants []struct{ Name string }
		Values   []float64
	}
	Flows      int
	EndedFlows int `json:"ended_flows"`
}

// check has a trace read with Perfetto's own schema.
func check(t *testing.T, trace []byte) checked {
	t.Helper()
	if out, err := exec.Command("python3", "-c", "import perfetto, google.protobuf").CombinedOutput(); err != nil {
		t.Skipf("Perfetto's schema is in its package for Python, which is not installed (testdata/requirements.txt): %v %s", err, out)
	}
	path := filepath.Join(t.TempDir(), "trace")
	if err := os.WriteFile(path, trace, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "testdata/check.py", path)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var c checked
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatal(err)
	}
	for _, fault := range c.Faults {
		t.Error(fault)
	}
	return c
}

func TestATraceFitsPerfettosSchema(t *testing.T) {
	var file bytes.Buffer
	trace := perfetto.New(&file, "flaky \xff")
	p, err := host.OpenWorkload(t.Context(), flaky, host.Config{
		Workers: 2, Batch: 4, Retries: 1, RetryAlways: true, Observer: trace, Env: []string{"ONCE=" + filepath.Join(t.TempDir(), "once")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	items := make([]int, 40)
	for i := range items {
		items[i] = i
	}
	if _, err := p.Map(t.Context(), items); err == nil || !strings.Contains(err.Error(), "item 3") {
		t.Errorf("Map: got %v, want that item 3 failed", err)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lost, err := trace.Close(); lost != 0 || err != nil {
		t.Errorf("Close: got %d, %v", lost, err)
	}
	c := check(t, file.Bytes())

	seen := map[string]int{}
	tracks := map[string]bool{}
	for _, track := range c.Tracks {
		tracks[track.Parent+"/"+track.Name] = true
		for _, s := range track.Slices {
			if s.Took < 0 {
				t.Errorf("%s takes %d ns", s.Name, s.Took)
			}
			if s.Depth > 0 || strings.HasPrefix(s.Name, "item ") {
				seen[s.Name]++
			}
			if s.Name == "item 3: failed" && s.Notes["error"] != "no <b>\uFFFD</b>" {
				t.Errorf("item 3: got %v", s.Notes)
			}
		}
	}
	for _, want := range []string{"/flaky \uFFFD", "flaky \uFFFD/worker 1", "flaky \uFFFD/worker 2", "worker 1/batches", "worker 2/batches"} {
		if !tracks[want] {
			t.Errorf("there is no track %q in %v", want, tracks)
		}
	}
	for i := range items {
		name := fmt.Sprint("item ", i)
		if i == 3 {
			name += ": failed"
		}
		if seen[name] == 0 {
			t.Errorf("there is no slice %q", name)
		}
	}
	if seen["item 7: crashed"] != 1 || c.Flows != 1 || c.EndedFlows != 1 {
		t.Errorf("got %d slices of the item that crashed, %d arrows that begin and %d that end, want one each", seen["item 7: crashed"], c.Flows, c.EndedFlows)
	}
}

// What a plugin says of times cannot make a trace that does not fit together.
func TestATraceOfLiesFitsTogether(t *testing.T) {
	var file bytes.Buffer
	trace := perfetto.New(&file, "lies")
	now := time.Now()
	for i := range 100 {
		at := now.Add(time.Duration(i*i%37) * time.Millisecond)
		trace.Observe(host.BatchDone{At: at, Worker: 1 + i%2, First: i, Items: 3, Failed: i % 4, Trip: time.Hour, Run: time.Duration(i) * time.Hour})
		trace.Observe(host.ItemRetried{At: at, Attempt: host.Attempt{Place: i, Worker: 1, Took: time.Hour, Blamed: i%2 == 0, Err: &host.ItemError{Message: "\x00\xfe"}}})
		trace.Observe(host.WorkerEnded{At: at, Worker: 1, Reason: "\xff", Cause: host.CauseSignal})
		trace.Observe(host.Sampled{At: at, State: host.State{Looked: at, Workers: []host.WorkerInfo{{Worker: 1, RSS: int64(i), CPU: time.Duration(-i)}}}})
	}
	if _, err := trace.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, file.Bytes())
}

// failing is a disk that is full after some bytes.
type failing struct{ room int }

func (f *failing) Write(b []byte) (int, error) {
	n := min(len(b), f.room)
	f.room -= n
	if n < len(b) {
		return n, errors.New("the disk is full")
	}
	return n, nil
}

// stuck is a disk that writes nothing until it is released.
type stuck chan struct{}

func (s stuck) Write(b []byte) (int, error) {
	<-s
	return len(b), nil
}

func TestATraceHarmsNothing(t *testing.T) {
	batch := func(i int) host.BatchDone {
		return host.BatchDone{At: time.Now(), Worker: 1, First: i, Items: 1, Trip: 1, Run: 1}
	}
	full := perfetto.New(&failing{room: 100_000}, "full")
	for i := range 100_000 {
		full.Observe(batch(i))
	}
	if _, err := full.Close(); err == nil || err.Error() != "the disk is full" {
		t.Errorf("a full disk: got %v", err)
	}

	released := make(stuck)
	slow := perfetto.New(released, "slow")
	const events = 1_000_000
	for i := range events { // returns, although nothing is written
		slow.Observe(batch(i))
	}
	close(released)
	if lost, err := slow.Close(); lost == 0 || lost >= events || err != nil {
		t.Errorf("a disk that is too slow: got %d events lost and %v, want some of %d", lost, err, events)
	}
	slow.Observe(batch(0)) // after Close
	if lost, err := slow.Close(); lost == 0 || err != nil {
		t.Errorf("Close again: got %d, %v", lost, err)
	}
}

func BenchmarkTrace(b *testing.B) {
	trace := perfetto.New(io.Discard, "bench")
	e := host.BatchDone{Worker: 1, Items: 1, Trip: 1, Run: 1}
	for b.Loop() {
		e.At = time.Now()
		trace.Observe(e)
	}
	if _, err := trace.Close(); err != nil {
		b.Fatal(err)
	}
}
