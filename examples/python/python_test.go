//go:build unix

// Package python tests that the Python plugins in this folder, which were written from docs/PROTOCOL.md alone, are workers like any others.
package python

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// needPython skips the test only if Python or its grpcio is not installed. Any other problem with Python fails the test.
func needPython(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skipf("python3 is missing: %v", err)
	}
	out, err := exec.Command("python3", "-c", "import grpc, google.protobuf").CombinedOutput()
	switch {
	case err == nil:
	case strings.Contains(string(out), "ModuleNotFoundError"):
		t.Skipf("grpcio or protobuf is missing (pip install -r examples/python/requirements.txt): %s", lastLine(out))
	default:
		t.Fatalf("python3: %v\n%s", err, out)
	}
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// open opens a pool, of two workers unless cfg says otherwise, that is closed when the test ends.
func open(t *testing.T, cfg host.Config) *host.Pool {
	t.Helper()
	needPython(t)
	if cfg.Workers == 0 {
		cfg.Workers = 2
	}
	cfg.StartTimeout = time.Minute // enough under the race detector, with all other tests running on two CPUs
	p, err := host.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

const faulty = "./testdata/faulty.py"

// Items for which faulty.py misbehaves.
const (
	exits    = 1001
	sleeps   = 1002
	resists  = 1003
	refuses  = 1004
	quits    = 1005
	tellsBad = 1006
	infinite = 1007
	prints   = 1008
)

func numbers(n int) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = float64(i)
	}
	return xs
}

func TestSqrtInOrder(t *testing.T) {
	p := open(t, host.Config{Plugin: "./sqrt.py"})
	xs := numbers(20000)
	got, err := host.BindJSON[float64, float64](p).Map(t.Context(), xs)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range xs {
		if got[i] != math.Sqrt(x) {
			t.Fatalf("item %d: got %v, want %v", i, got[i], math.Sqrt(x))
		}
	}
	if m := p.Manifest(); m.Name != "sqrt-python" || !m.NotConcurrent || len(m.Examples) != 10 {
		t.Errorf("manifest: got %+v", m)
	}
	m, err := p.Describe(t.Context())
	if err != nil || string(m.ItemSchema) != `{"type": "number", "minimum": 0}` {
		t.Errorf("item schema: got %s, error %v", m.ItemSchema, err)
	}
}

func TestSqrtAsJSON(t *testing.T) {
	p := open(t, host.Config{Plugin: "./sqrt.py"})
	for item, want := range map[string]string{
		`4`:       `2`,
		` 2.0 `:   `1.4142135623730951`,
		`-0.0`:    `-0`,
		`1e-14`:   `1e-7`,
		`1e42`:    `1e+21`,
		`6.25e40`: `250000000000000000000`,
	} {
		got, err := value(host.BindJSON[json.RawMessage, json.RawMessage](p).Do(t.Context(), json.RawMessage(item)))
		if err != nil || string(got) != want {
			t.Errorf("item %s: got %s, error %v, want %s", item, got, err, want)
		}
	}
	for item, offset := range map[string]int{
		``: 1, `four`: 1, `"é" x`: 6, `[1, 2`: 6, `true`: 1, `null`: 1, `"4"`: 1, `NaN`: 0, `1e999`: 0, "1\xff": 2,
	} {
		_, err := value(host.BindJSON[json.RawMessage, json.RawMessage](p).Do(t.Context(), json.RawMessage(item)))
		var e *host.ItemError
		if !errors.As(err, &e) || e.Kind != host.KindBadItem || e.Offset != offset {
			t.Errorf("item %q: got %v (%+v), want a bad item at %d", item, err, e, offset)
		}
	}
}

func TestFaultsOfSingleItems(t *testing.T) {
	p := open(t, host.Config{Plugin: faulty, Workers: 1})
	first := p.Workers()[0].PID
	xs := numbers(300)
	wants := map[int]struct {
		x       float64
		kind    host.Kind
		message string
	}{
		10:  {-1, host.KindFailed, "ValueError: math domain error"},
		20:  {refuses, host.KindBadItem, "1004 is not welcome"},
		30:  {tellsBad, host.KindFailed, "result: required argument is not a float"},
		299: {-4, host.KindFailed, "ValueError: math domain error"},
	}
	for i, want := range wants {
		xs[i] = want.x
	}
	xs[40] = prints
	got, err := host.BindJSON[float64, float64](p).Map(t.Context(), xs)
	var failed *host.MapError
	if !errors.As(err, &failed) || len(failed.Errs) != len(wants) {
		t.Fatalf("got %v, want errors of %d items", err, len(wants))
	}
	for _, e := range failed.Errs {
		if want := wants[e.Index]; e.Kind != want.kind || e.Message != want.message {
			t.Errorf("item %d: got %s, %q, want %s, %q", e.Index, e.Kind, e.Message, want.kind, want.message)
		}
	}
	for i, x := range xs {
		if _, fails := wants[i]; !fails && i != 40 && got[i] != math.Sqrt(x) {
			t.Errorf("item %d: got %v, want %v", i, got[i], math.Sqrt(x))
		}
	}
	if got[40] != 8 {
		t.Errorf("item that prints: got %v, want 8", got[40])
	}
	if now := p.Workers(); len(now) != 1 || now[0].PID != first {
		t.Errorf("workers: got %+v, want process %d still", now, first)
	}
}

func TestResultsThatJSONCannotWrite(t *testing.T) {
	p := open(t, host.Config{Plugin: faulty, Workers: 1})
	if got, err := value(host.BindJSON[float64, float64](p).Do(t.Context(), infinite)); err != nil || !math.IsInf(got, 1) {
		t.Errorf("packed: got %v, error %v, want infinity", got, err)
	}
	_, err := value(host.BindJSON[int, float64](p).Do(t.Context(), infinite))
	if want := "result: inf has no JSON form"; !errors.Is(err, host.ErrFailed) || !strings.Contains(err.Error(), want) {
		t.Errorf("JSON: got %v, want %q", err, want)
	}
}

// badItems runs numbers, some of which are x. It checks that exactly these fail, with the given kind, and returns their errors.
func badItems(t *testing.T, p *host.Pool, x float64, kind host.Kind) []*host.ItemError {
	t.Helper()
	xs := numbers(400)
	places := []int{0, 123, 399}
	for _, at := range places {
		xs[at] = x
	}
	got, err := host.BindJSON[float64, float64](p).Map(t.Context(), xs)
	var failed *host.MapError
	if !errors.As(err, &failed) || len(failed.Errs) != len(places) {
		t.Fatalf("got %v, want errors of items %v", err, places)
	}
	for i, e := range failed.Errs {
		if e.Index != places[i] || e.Kind != kind {
			t.Errorf("got %v, want item %d %s", e, places[i], kind)
		}
	}
	for i, x := range xs {
		if !slices.Contains(places, i) && got[i] != math.Sqrt(x) {
			t.Errorf("item %d: got %v, want %v", i, got[i], math.Sqrt(x))
		}
	}
	return failed.Errs
}

func TestCrashCostsOneItem(t *testing.T) {
	for _, e := range badItems(t, open(t, host.Config{Plugin: faulty}), exits, host.KindCrashed) {
		if e.ExitCode != 7 {
			t.Errorf("item %d: got exit code %d, want 7", e.Index, e.ExitCode)
		}
	}
}

func TestExitInAnItemIsItsPanic(t *testing.T) {
	for _, e := range badItems(t, open(t, host.Config{Plugin: faulty}), quits, host.KindPanicked) {
		if !strings.Contains(e.Stack, "faulty.py") {
			t.Errorf("item %d: got the stack %q, want faulty.py in it", e.Index, e.Stack)
		}
	}
}

func TestOverdueItemIsInterrupted(t *testing.T) {
	p := open(t, host.Config{Plugin: faulty, Workers: 1, ItemTimeout: 200 * time.Millisecond, Grace: 20 * time.Second})
	first := p.Workers()[0].PID
	for _, e := range badItems(t, p, sleeps, host.KindTimeout) {
		if e.Message != "still running after 0.2 s" {
			t.Errorf("got %q", e.Message)
		}
	}
	if now := p.Workers(); len(now) != 1 || now[0].PID != first {
		t.Errorf("workers: got %+v, want process %d still", now, first)
	}
}

func TestOverdueItemThatDoesNotEndIsKilled(t *testing.T) {
	p := open(t, host.Config{Plugin: faulty, ItemTimeout: 200 * time.Millisecond, Grace: 100 * time.Millisecond})
	for _, e := range badItems(t, p, resists, host.KindTimeout) {
		if !strings.Contains(strings.Join(e.Stderr, "\n"), "in resist") {
			t.Errorf("item %d: got stderr %q, want the stack of resist", e.Index, e.Stderr)
		}
	}
}

func TestCancelInterruptsTheItem(t *testing.T) {
	p := open(t, host.Config{Plugin: faulty, Workers: 1, Grace: 20 * time.Second})
	first := p.Workers()[0].PID
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := value(host.BindJSON[float64, float64](p).Do(ctx, sleeps)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline error", err)
	}
	if got, err := value(host.BindJSON[float64, float64](p).Do(t.Context(), 81)); err != nil || got != 9 {
		t.Errorf("next item: got %v, error %v, want 9", got, err)
	}
	if now := p.Workers(); len(now) != 1 || now[0].PID != first {
		t.Errorf("workers: got %+v, want process %d still", now, first)
	}
}

func TestSqrtKeepsThePromisesOfAPlugin(t *testing.T) {
	needPython(t)
	v, err := host.Verify(t.Context(), host.Config{Plugin: "./sqrt.py", StartTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Checks {
		if t.Logf("%s %s: %s", c.Status, c.Name, c.Outcome); c.Status == "failed" {
			t.Errorf("%s: %s", c.Promise, c.Outcome)
		}
	}
}

// A worker that gets SIGTERM hands its items back, and no result is lost.
func TestTerminatedWorkerLosesNothing(t *testing.T) {
	p := open(t, host.Config{Plugin: "./sqrt.py"})
	xs := numbers(200000)
	terminated := false
	n := 0
	for r, err := range host.BindJSON[float64, float64](p).Stream(t.Context(), slices.Values(xs)) {
		if err != nil || r.Err != nil || r.Index != n || r.Value != math.Sqrt(xs[n]) {
			t.Fatalf("result %d: got %+v, error %v", n, r, err)
		}
		if n++; !terminated {
			terminated = true
			if err := syscall.Kill(r.PID, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != len(xs) {
		t.Errorf("got %d results, want %d", n, len(xs))
	}
}

func TestShutdownEndsTheProcesses(t *testing.T) {
	p := open(t, host.Config{Plugin: "./sqrt.py"})
	workers := p.Workers()
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, w := range workers {
		if err := syscall.Kill(w.PID, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d: got %v, want none", w.PID, err)
		}
	}
}

// The test simulates the death of a host: the pipe closes, and nothing else happens.
func TestWorkerEndsWithItsHost(t *testing.T) {
	needPython(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.CommandContext(t.Context(), "./sqrt.py")
	cmd.Env = append(os.Environ(), "PARHOST_PLUGIN="+wire.Handshake.MagicCookieValue, "PLUGIN_UNIX_SOCKET_DIR="+t.TempDir(), "PARHOST_ALIVE_FD=3")
	cmd.ExtraFiles = []*os.File{r}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || !strings.HasPrefix(line, "1|1|unix|/") {
		t.Errorf("handshake: got %q, error %v", line, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("got %v, want an end by SIGKILL", err)
	}
}

func TestStartedByHandItSaysWhatItIs(t *testing.T) {
	needPython(t)
	out, err := exec.Command("./sqrt.py").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "parhost --plugin") {
		t.Errorf("got %v, %q, want exit code 2 and a hint", err, out)
	}
}

// The generated Python code is checked in. This test fails if worker.proto has changed since it was generated.
func TestGeneratedCodeIsOfTheProtocol(t *testing.T) {
	needPython(t)
	out, err := exec.Command("python3", "-c", "import sys, worker_pb2; sys.stdout.buffer.write(worker_pb2.DESCRIPTOR.serialized_pb)").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	want := protodesc.ToFileDescriptorProto(workerpb.File_parhost_v1_worker_proto)
	got.Name, want.Name = nil, nil // the two were generated from different folders
	for _, top := range want.GetMessageType() {
		for _, m := range append(top.GetNestedType(), top) { // maps are nested messages
			for _, f := range m.GetField() {
				f.JsonName = nil // protoc sets JSON names only for Go
			}
		}
	}
	if !proto.Equal(&got, want) {
		t.Error("worker_pb2.py is not of today's worker.proto: README.md says how it is made")
	}
}

// The dumps in section 4 of docs/PROTOCOL.md must be exactly what both languages write.
func TestDocumentedColumns(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "PROTOCOL.md"))
	if err != nil {
		t.Fatal(err)
	}
	for title, c := range map[string]struct {
		column []byte
		python string
	}{
		"float64, three values: 1, 4, 0.25":          {fixedColumn(1, 4, 0.25), "codec('float64'), [1.0, 4.0, 0.25]"},
		`string, three values: "go", "", "é"`:        {column(t, "go", "", "é"), "codec('string'), ['go', '', 'é']"},
		"[]int32, three values: [1, 2, 3], [], [-1]": {column(t, []int32{1, 2, 3}, nil, []int32{-1}), "codec('[]int32'), [[1, 2, 3], [], [-1]]"},
		`FORMAT_JSON, two values: 81, {"a":1}`:       {column(t, json.RawMessage("81"), json.RawMessage(`{"a":1}`)), "JSONCodec(codec('json')), [81, {'a': 1}]"},
		"float64, two results: an error, 3":          {fixedColumn(0, 3), "codec('float64'), [0.0, 3.0]"},
	} {
		t.Run(title, func(t *testing.T) {
			_, dump, found := strings.Cut(string(page), "\n"+title+"\n")
			if !found {
				t.Fatal("not in docs/PROTOCOL.md")
			}
			dump, _, _ = strings.Cut(dump, "\n\n")
			dump, _, _ = strings.Cut(dump, "```")
			var documented []byte
			for line := range strings.Lines(dump) {
				if strings.Contains(line, "└") {
					continue
				}
				b, err := hex.DecodeString(regexp.MustCompile(`\s`).ReplaceAllString(line, ""))
				if err != nil {
					t.Fatal(err)
				}
				documented = append(documented, b...)
			}
			if string(documented) != string(c.column) {
				t.Errorf("docs/PROTOCOL.md has % x, Go writes % x", documented, c.column)
			}
			needPython(t)
			script := fmt.Sprintf("from parhost_values import *\nc, v = %s\nprint(c.join([c.encode(x) for x in v]).hex())", c.python)
			out, err := exec.Command("python3", "-c", script).CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != hex.EncodeToString(c.column) {
				t.Errorf("Python writes %s (error %v), Go writes %x", got, err, c.column)
			}
		})
	}
}

func fixedColumn(values ...float64) []byte {
	codec := wire.CodecOf[float64]()
	return codec.AppendFixed(nil, values)
}

func column[T any](t *testing.T, values ...T) []byte {
	t.Helper()
	codec := wire.CodecOf[T]()
	var w wire.ColumnWriter
	w.Reset(codec.Aligned())
	for _, v := range values {
		data, err := codec.Append(w.Begin(), v)
		if err != nil {
			t.Fatal(err)
		}
		w.End(data)
	}
	return w.Bytes()
}

func TestNoItemIsChangedSilently(t *testing.T) {
	p := open(t, host.Config{Plugin: "./testdata/echo.py"})
	for text, offset := range map[string]int{
		"\"caf\xe9\"": 5, `"\ud800x"`: 2, `"x\udc00"`: 3, `["\ud800\ud800"]`: 3, `{"a":1,"a":2}`: 0,
	} {
		got, err := value(host.BindJSON[json.RawMessage, json.RawMessage](p).Do(t.Context(), json.RawMessage(text)))
		if e, ok := errors.AsType[*host.ItemError](err); !ok || e.Kind != host.KindBadItem || e.Offset != offset {
			t.Errorf("item %q: got %s, %v, want a bad_item at byte %d", text, got, err, offset)
		}
	}
	for _, text := range []string{`"\\ud800"`, `"😀"`, "9007199254740993", `{"a":[null]}`} {
		if got, err := value(host.BindJSON[json.RawMessage, json.RawMessage](p).Do(t.Context(), json.RawMessage(text))); err != nil || string(got) != text {
			t.Errorf("item %s: got %s, %v, want it back", text, got, err)
		}
	}
}

func TestAnItemSeesItsRun(t *testing.T) {
	p := open(t, host.Config{Plugin: "./testdata/echo.py"})
	type seen struct {
		Metadata map[string]string `json:"metadata"`
		Left     *float64          `json:"left"`
	}
	got, err := value(host.BindJSON[string, seen](p).Do(t.Context(), "context"))
	if err != nil || len(got.Metadata) > 0 || got.Left != nil {
		t.Errorf("a run of which nothing is said: got %+v, %v, want nothing", got, err)
	}
	ctx, cancel := context.WithTimeout(host.WithMetadata(t.Context(), map[string]string{"tenant": "a"}), time.Hour)
	defer cancel()
	got, err = value(host.BindJSON[string, seen](p).Do(ctx, "context"))
	if err != nil || got.Metadata["tenant"] != "a" || got.Left == nil || *got.Left <= 0 || *got.Left > 3600 {
		t.Errorf("a run with a tenant and an hour: got %+v, %v, want both", got, err)
	}
}

// value returns the value of a result.
func value[Out any](r host.Result[Out], err error) (Out, error) { return r.Value, err }
