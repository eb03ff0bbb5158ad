package conform_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/parhost/parhost/internal/conform"
	"github.com/parhost/parhost/internal/inprocess"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/sdk"
)

// lies is a worker that keeps its promises, except that the test changes its messages on their way to the host.
type lies struct {
	workerpb.WorkerServiceClient
	manifest func(*workerpb.Manifest)
	ready    func(*workerpb.Ready)
	results  func(r *workerpb.Results, asJSON bool)
	buffers  *conform.Buffers // given to the worker, which does not map it
}

func (l *lies) Describe(ctx context.Context, req *workerpb.DescribeRequest, opts ...grpc.CallOption) (*workerpb.DescribeResponse, error) {
	r, err := l.WorkerServiceClient.Describe(ctx, req, opts...)
	if err == nil && l.manifest != nil {
		l.manifest(r.GetManifest())
	}
	return r, err
}

func (l *lies) Work(ctx context.Context, opts ...grpc.CallOption) (grpc.BidiStreamingClient[workerpb.WorkRequest, workerpb.WorkResponse], error) {
	s, err := l.WorkerServiceClient.Work(ctx, opts...)
	return &liesStream{WorkerService_WorkClient: s, ready: l.ready, results: l.results}, err
}

type liesStream struct {
	workerpb.WorkerService_WorkClient
	ready   func(*workerpb.Ready)
	results func(*workerpb.Results, bool)
	json    sync.Map // batch id → whether the batch was sent as JSON
}

func (s *liesStream) Send(r *workerpb.WorkRequest) error {
	if b := r.GetBatch(); b != nil {
		s.json.Store(b.GetId(), b.GetFormat() == workerpb.Format_FORMAT_JSON)
	}
	return s.WorkerService_WorkClient.Send(r)
}

func (s *liesStream) Recv() (*workerpb.WorkResponse, error) {
	r, err := s.WorkerService_WorkClient.Recv()
	if ready := r.GetReady(); ready != nil && s.ready != nil {
		s.ready(ready)
	}
	if results := r.GetResults(); results != nil && s.results != nil {
		asJSON, _ := s.json.Load(results.GetBatch())
		s.results(results, asJSON == true)
	}
	return r, err
}

// check runs all checks on a workload whose messages l changes.
func check(t *testing.T, w sdk.AnyWorkload, l lies, items ...json.RawMessage) (*conform.Report, error) {
	t.Helper()
	return checkWithin(t, 0, w, l, items...)
}

// checkWithin is check with a limit of most bytes for a result; 0 means no limit.
func checkWithin(t *testing.T, most uint64, w sdk.AnyWorkload, l lies, items ...json.RawMessage) (*conform.Report, error) {
	t.Helper()
	return conform.Run(t.Context(), func(context.Context) (*conform.Worker, error) {
		listener := bufconn.Listen(1 << 16)
		logger, complaint := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard}), &conform.Complaint{}
		logger.RegisterSink(complaint)
		gone, stop := inprocess.Serve(w, listener, logger)
		conn, err := grpc.NewClient("passthrough:///worker", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
		if err != nil {
			return nil, err
		}
		l := l
		l.WorkerServiceClient = workerpb.NewWorkerServiceClient(conn)
		return &conform.Worker{Service: &l, Gone: gone, Torn: complaint.Err, Buffers: l.buffers, Kill: func() {
			_ = conn.Close()
			stop()
			<-gone
		}}, nil
	}, most, items...)
}

func find(t *testing.T, r *conform.Report, name string) conform.Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no check %q", name)
	return conform.Check{}
}

type pair struct {
	A int `json:"a"`
	B int `json:"b"`
}

func double(_ context.Context, x float64) (float64, error) { return 2 * x, nil }

func sum(_ context.Context, p pair) (int, error) { return p.A + p.B, nil }

var (
	doubles = sdk.Func("double", double).With(sdk.Manifest{Examples: []any{1, 20.5}, Idempotent: true})
	sums    = sdk.Func("sum", sum).With(sdk.Manifest{Examples: []any{pair{1, 2}}, Idempotent: true})
)

// errs reports the first item of each message as failed with the given kind.
func errs(kind workerpb.Kind) func(r *workerpb.Results, _ bool) {
	return func(r *workerpb.Results, _ bool) {
		if r.GetCount() > 0 {
			r.Errors = []*workerpb.ItemError{{Item: r.GetFrom(), Kind: kind, Message: "as it says"}}
		}
	}
}

// counter is a workload that gives another result each time.
func counter() *sdk.Workload[string, int64] {
	var n atomic.Int64
	return sdk.Func("counter", func(context.Context, string) (int64, error) { return n.Add(1), nil })
}

// stubborn sleeps for ms milliseconds and ignores its context.
func stubborn(_ context.Context, ms int) (int, error) {
	time.Sleep(time.Duration(ms) * time.Millisecond)
	return ms, nil
}

type torn struct{ stage string }

func (s torn) Run(_ context.Context, x int) (int, error) { return x, nil }

func (s torn) Setup(context.Context) error {
	if s.stage == "setup" {
		return errors.New("no model")
	}
	return nil
}

func (s torn) Teardown(context.Context) error {
	if s.stage == "teardown" {
		return errors.New("no disk")
	}
	return nil
}

func tornAt(stage string) sdk.AnyWorkload {
	return sdk.Struct("torn", func() sdk.Runner[int, int] { return torn{stage} }).With(sdk.Manifest{Examples: []any{1}})
}

func TestABrokenPromiseIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		workload sdk.AnyWorkload
		lies     lies
		items    []json.RawMessage
		check    string
		status   conform.Status
		want     string
	}{
		"nothing to run": {
			workload: sdk.Func("double", double), check: "examples", status: conform.Failed, want: "has no examples",
		},
		"nothing of its own, but items": {
			workload: sdk.Func("double", double), items: []json.RawMessage{json.RawMessage("3")}, check: "run", status: conform.OK, want: "1 result in",
		},
		"a name that is no name": {
			workload: doubles.With(sdk.Manifest{Name: "to double"}), check: "manifest", status: conform.Failed, want: `name "to double"`,
		},
		"an unknown mode": {
			workload: doubles.With(sdk.Manifest{Prefer: "thread"}), check: "manifest", status: conform.Failed, want: `prefer is "thread"`,
		},
		"a version of two lines": {
			workload: doubles.With(sdk.Manifest{Version: "1\n2"}), check: "manifest", status: conform.Failed, want: `version "1\n2": want one line`,
		},
		"a need without a root": {
			workload: doubles.With(sdk.Manifest{Needs: sdk.Needs{Read: []string{"models"}}}), check: "manifest", status: conform.Failed, want: `path "models"`,
		},
		"another manifest each time": {
			workload: doubles,
			lies: lies{manifest: func() func(*workerpb.Manifest) {
				var n atomic.Int64
				return func(m *workerpb.Manifest) { m.ItemTimeNs = uint64(n.Add(1)) }
			}()},
			check: "describe", status: conform.Failed, want: "two manifests",
		},
		"a schema that is none": {
			workload: doubles.With(sdk.Manifest{ItemSchema: json.RawMessage(`{"pattern": "("}`)}), check: "schemas", status: conform.Failed, want: "item schema: ",
		},
		"a schema that is too large": {
			workload: doubles.With(sdk.Manifest{ItemSchema: json.RawMessage(`{"title": "` + strings.Repeat("x", 256<<10) + `"}`)}), check: "schemas", status: conform.Failed, want: "item schema: it is 262157 bytes, the limit is 262144",
		},
		"a schema that is too deep": {
			workload: doubles.With(sdk.Manifest{ResultSchema: json.RawMessage(strings.Repeat(`{"not":`, 64) + "{}" + strings.Repeat("}", 64))}), check: "schemas", status: conform.Failed, want: "result schema: it nests 65 deep, the limit is 64",
		},
		"an item schema that never ends": {
			workload: doubles.With(sdk.Manifest{Examples: []any{1}, ItemSchema: json.RawMessage(`{"$ref": "#"}`)}), check: "examples", status: conform.Failed, want: "the item schema: it refers to itself without end",
		},
		"a result schema that never ends": {
			workload: doubles.With(sdk.Manifest{Examples: []any{1}, ResultSchema: json.RawMessage(`{"allOf": [{"$ref": "#"}]}`)}), check: "results", status: conform.Failed, want: "the result schema: it refers to itself without end",
		},
		"an example that the schema forbids": {
			workload: doubles.With(sdk.Manifest{ItemSchema: json.RawMessage(`{"type": "string"}`), Examples: []any{1}}), check: "examples", status: conform.Failed, want: "example 0, 1, is not what the item schema says",
		},
		"an example that fails": {
			workload: sdk.Func("double", func(context.Context, float64) (float64, error) { return 0, errors.New("no") }).With(sdk.Manifest{Examples: []any{1}}),
			check:    "run", status: conform.Failed, want: "1: failed: no",
		},
		"an example that panics": {
			workload: sdk.Func("double", func(_ context.Context, x float64) (float64, error) {
				if x > 1 {
					panic("oh")
				}
				return x, nil
			}).With(sdk.Manifest{Examples: []any{1, 2, 0}}),
			check: "run", status: conform.Failed, want: "2: panic: oh",
		},
		"a result that the schema forbids": {
			workload: doubles.With(sdk.Manifest{Examples: []any{1}, ResultSchema: json.RawMessage(`{"type": "string"}`)}), check: "results", status: conform.Failed, want: "1 gave 2, which is not what the result schema says",
		},
		"idempotent, with another result each time": {
			workload: counter().With(sdk.Manifest{Examples: []any{"a"}, Idempotent: true}), check: "repeat", status: conform.Failed, want: "got 2, alone it gave 1",
		},
		"another result each time, as it says": {
			workload: counter().With(sdk.Manifest{Examples: []any{"a"}}), check: "repeat", status: conform.Skipped, want: "not idempotent",
		},
		"other results when packed": {
			workload: doubles,
			lies: lies{results: func(r *workerpb.Results, asJSON bool) {
				if !asJSON && len(r.GetValues()) > 0 {
					r.Values[0] ^= 1
				}
			}},
			check: "packed", status: conform.Failed, want: "gave another result packed as float64 → float64",
		},
		"bad items without a place": {
			workload: sums,
			lies: lies{results: func(r *workerpb.Results, _ bool) {
				for _, e := range r.GetErrors() {
					e.Offset = 0
				}
			}},
			check: "bad-items", status: conform.Failed, want: "goes wrong at byte 0",
		},
		"bad items that count as failed": {
			workload: sums,
			lies: lies{results: func(r *workerpb.Results, _ bool) {
				for _, e := range r.GetErrors() {
					e.Kind = workerpb.Kind_KIND_FAILED
				}
			}},
			check: "bad-items", status: conform.Failed, want: "is failed, want bad_item",
		},
		"unknown fields that the schema forbids and the workload takes": {
			workload: sdk.Func("sum", func(_ context.Context, p map[string]int) (int, error) { return p["a"] + p["b"], nil }).With(sdk.Manifest{
				Examples: []any{pair{1, 2}}, ItemSchema: json.RawMessage(`{"type": "object", "properties": {"a": {}, "b": {}}, "additionalProperties": false}`),
			}),
			check: "unknown-fields", status: conform.Failed, want: "forbids further fields, and",
		},
		"a gap in the results": {
			workload: doubles,
			lies: lies{results: func(r *workerpb.Results, _ bool) {
				if r.GetCount() > 20 { // more items than the earlier checks send at once
					r.From++
				}
			}},
			check: "batch", status: conform.Failed, want: "results from item 1 on, want item 0",
		},
		"a gap where results are missing": {
			workload: doubles, lies: lies{results: func(r *workerpb.Results, _ bool) { r.Count++ }}, check: "run", status: conform.Failed, want: "broke the protocol",
		},
		"no times": {
			workload: doubles, lies: lies{results: func(r *workerpb.Results, _ bool) { r.ItemNs = nil }}, check: "batch", status: conform.Failed, want: "0 times for",
		},
		"results of nobody's": {
			workload: doubles, lies: lies{results: func(r *workerpb.Results, _ bool) { r.Batch += 1000 }}, check: "run", status: conform.Failed, want: "which it does not hold",
		},
		"results that are not JSON": {
			workload: sums,
			lies: lies{results: func(r *workerpb.Results, asJSON bool) {
				if asJSON {
					r.Values[len(r.GetValues())-1] = '{'
				}
			}},
			check: "run", status: conform.Failed, want: "not one line of JSON",
		},
		"not concurrent, says the manifest": {
			workload: sdk.Func("stubborn", stubborn).With(sdk.Manifest{Examples: []any{30}}),
			lies:     lies{manifest: func(m *workerpb.Manifest) { m.NotConcurrent = true }},
			check:    "threads", status: conform.Failed, want: "the manifest says NotConcurrent, and 4 threads ran",
		},
		"not concurrent": {
			workload: sdk.Func("stubborn", stubborn).With(sdk.Manifest{Examples: []any{20}, NotConcurrent: true}),
			check:    "threads", status: conform.OK, want: "one after the other",
		},
		"a workload that does not look at its context": {
			workload: sdk.Func("stubborn", stubborn).With(sdk.Manifest{Examples: []any{400}}),
			check:    "timeout", status: conform.OK, want: "does not look at its context",
		},
		"sizes that are too small": {
			workload: sdk.Func("echo", func(_ context.Context, s string) (string, error) { return s, nil }).With(sdk.Manifest{Examples: []any{"long"}}),
			lies: lies{results: func(r *workerpb.Results, _ bool) {
				for _, e := range r.GetErrors() {
					e.Size = 0
				}
			}},
			check: "oversize", status: conform.Failed, want: "the result of 0 bytes is too large, and the limit is 1",
		},
		"more than was asked for": {
			workload: doubles, lies: lies{results: func(r *workerpb.Results, _ bool) {
				if r.GetCount() > 1 { // an example in a batch of its own still runs
					r.Errors = append(r.Errors, &workerpb.ItemError{Item: r.GetFrom() + r.GetCount() - 1, Message: "x"})
				}
			}},
			check: "credit", status: conform.Failed, want: "and the batch has a credit of",
		},
		"canceled by nobody": {
			workload: doubles, lies: lies{results: errs(workerpb.Kind_KIND_CANCELED)},
			check: "run", status: conform.Failed, want: "its host had not canceled it",
		},
		"a limit that there is not": {
			workload: doubles, lies: lies{results: errs(workerpb.Kind_KIND_TIMEOUT)},
			check: "run", status: conform.Failed, want: "passed its time limit, and there is none",
		},
		"too large for no limit": {
			workload: doubles, lies: lies{results: errs(workerpb.Kind_KIND_OVERSIZE)},
			check: "run", status: conform.Failed, want: "is too large, and the limit is",
		},
		"buffers that it was not given": {
			workload: doubles, lies: lies{ready: func(r *workerpb.Ready) { r.Buffers = true }},
			check: "buffers", status: conform.Failed, want: "was not given any",
		},
		"buffers that it looks for elsewhere": {
			workload: doubles,
			lies:     lies{ready: func(r *workerpb.Ready) { r.Buffers = true }, buffers: &conform.Buffers{Memory: make([]byte, 1<<20)}},
			check:    "buffers", status: conform.Failed, want: "JSON texts in buffers: ",
		},
		"buffers that it does not look at": {
			workload: doubles, lies: lies{buffers: &conform.Buffers{Memory: make([]byte, 1<<20)}},
			check: "buffers", status: conform.Skipped, want: "the worker does not look at them",
		},
		"a teardown that fails": {
			workload: tornAt("teardown"), check: "drain", status: conform.Failed, want: "teardown: no disk",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := check(t, c.workload, c.lies, c.items...)
			if err != nil {
				t.Fatal(err)
			}
			got := find(t, r, c.check)
			if got.Status != c.status || !strings.Contains(got.Outcome, c.want) {
				t.Errorf("got %s: %s, want %s: …%s…", got.Status, got.Outcome, c.status, c.want)
			}
			if (r.Failed() > 0) != (c.status == conform.Failed) {
				t.Errorf("%d checks failed: %+v", r.Failed(), r.Checks)
			}
		})
	}
}

func TestAnExampleHasSomeMinutesWhateverItsAuthorSays(t *testing.T) {
	for hint, want := range map[time.Duration]time.Duration{0: time.Minute, time.Second: 80 * time.Second, time.Minute: 10 * time.Minute, math.MaxInt64: 10 * time.Minute} {
		if got := conform.PatienceFor(hint); got != want {
			t.Errorf("with an item time of %v: got %v, want %v", hint, got, want)
		}
	}
}

func TestPlacesThatDoNotFitTheirBatchAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		order conform.Order
		want  string
	}{
		"too few":    {conform.Order{Count: 2, At: []uint64{4096}, Size: []uint64{8, 8}}, "1 places and 2 sizes of 2 items"},
		"too many":   {conform.Order{Count: 2, At: []uint64{4096, 4096}, Size: []uint64{8, 8, 8}}, "2 places and 3 sizes of 2 items"},
		"no buffers": {conform.Order{Count: 1, At: []uint64{4096}, Size: []uint64{8}}, "item 0: 8 bytes at 4096: there are no buffers"},
	} {
		listener := bufconn.Listen(1 << 16)
		gone, stop := inprocess.Serve(doubles, listener, hclog.NewNullLogger())
		conn, err := grpc.NewClient("passthrough:///worker", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		s, err := conform.OpenStream(t.Context(), &conform.Worker{Service: workerpb.NewWorkerServiceClient(conn), Gone: gone}, "float64", 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(c.order, time.Minute); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		conn.Close()
		stop()
		<-gone
	}
}

func TestASetUpThatFailsIsNoReport(t *testing.T) {
	r, err := check(t, tornAt("setup"), lies{})
	if err == nil || !strings.Contains(err.Error(), "set-up: no model") {
		t.Errorf("got %v and %v, want the set-up's error", r, err)
	}
}

func TestEachKindOfValueTravelsInBothFormats(t *testing.T) {
	for name, w := range map[string]sdk.AnyWorkload{
		"int8":      sdk.Func("w", func(_ context.Context, x int8) (int8, error) { return x, nil }).With(sdk.Manifest{Examples: []any{-5, 0, 127}}),
		"uint16":    sdk.Func("w", func(_ context.Context, x uint16) (uint16, error) { return x, nil }).With(sdk.Manifest{Examples: []any{0, 65535}}),
		"float32":   sdk.Func("w", func(_ context.Context, x float32) (float32, error) { return x / 3, nil }).With(sdk.Manifest{Examples: []any{1, 1e-20}}),
		"[]float64": sdk.Func("w", func(_ context.Context, x []float64) ([]float64, error) { return x, nil }).With(sdk.Manifest{Examples: []any{[]float64{1, 2.5}, []float64{}, []float64{3}}}),
		"[]int32":   sdk.Func("w", func(_ context.Context, x []int32) ([]int32, error) { return x, nil }).With(sdk.Manifest{Examples: []any{[]int32{1}, []int32{1, 2, 3}}}),
		"bytes":     sdk.Func("w", func(_ context.Context, x []byte) ([]byte, error) { return x, nil }).With(sdk.Manifest{Examples: []any{[]byte("ab"), []byte{0}}}),
		"string":    sdk.Func("w", func(_ context.Context, x string) (string, error) { return x + "é", nil }).With(sdk.Manifest{Examples: []any{"", "a\nb"}}),
		"struct":    sdk.Func("w", func(_ context.Context, x pair) (pair, error) { return pair{x.B, x.A}, nil }).With(sdk.Manifest{Examples: []any{pair{1, 2}}}),
		"batch": sdk.Batch("w", func(_ context.Context, xs []int) ([]int, error) { return xs, nil }).With(sdk.Manifest{
			Examples: []any{1, 2, 3}, NotConcurrent: true,
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := check(t, w, lies{})
			if err != nil {
				t.Fatal(err)
			}
			if c := find(t, r, "packed"); c.Status != conform.OK {
				t.Errorf("packed: got %s: %s", c.Status, c.Outcome)
			}
			for _, c := range r.Checks {
				if c.Status == conform.Failed {
					t.Errorf("%s: %s", c.Name, c.Outcome)
				}
			}
		})
	}
}

// A check keeps a bounded number of bytes of results, even if each result is large.
func TestResultsOfACheckAreBounded(t *testing.T) {
	const size, begin, end = 16 << 20, 5, 45 // large, so that even a busy machine, which runs fewer items, exceeds the limit
	var n atomic.Int64
	large := json.RawMessage(`"` + strings.Repeat("x", size) + `"`)
	w := sdk.Func("swells", func(context.Context, int) (json.RawMessage, error) {
		if at := n.Add(1); at > begin && at <= end {
			return large, nil
		}
		return json.RawMessage("1"), nil
	}).With(sdk.Manifest{Examples: []any{1}})
	r, err := checkWithin(t, 2*size, w, lies{})
	if err != nil {
		t.Fatal(err)
	}
	if c := find(t, r, "batch"); c.Status != conform.Failed || !strings.Contains(c.Outcome, "results of one check come to more than 167772160 bytes") {
		t.Errorf("got %s: %s, want that the results are too large", c.Status, c.Outcome)
	}
	if c := find(t, r, "run"); c.Status != conform.OK {
		t.Errorf("an example alone: got %s: %s", c.Status, c.Outcome)
	}
}

// A workload with large results passes the checks.
func TestLargeExamplesKeepTheirPromises(t *testing.T) {
	w := sdk.Func("wide", func(_ context.Context, mib int) (string, error) { return strings.Repeat("x", mib<<20), nil }).With(sdk.Manifest{Examples: []any{1, 3, 6, 30, 30}, Idempotent: true})
	r, err := checkWithin(t, 31<<20, w, lies{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		if c.Status == conform.Failed {
			t.Errorf("%s: %s", c.Name, c.Outcome)
		}
	}
	if c := find(t, r, "run"); !strings.Contains(c.Outcome, "5 results") || !strings.Contains(c.Outcome, "1 are too large for the other checks") {
		t.Errorf("run: got %q, want that one result was not kept", c.Outcome)
	}
}
