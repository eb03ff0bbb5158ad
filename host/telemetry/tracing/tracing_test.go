package tracing_test

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/telemetry/tracing"
	"github.com/parhost/parhost/sdk"
)

// tell returns the span that the host gave it, fails on item 3, and dies of item 7.
var tell = sdk.Func("tell", func(ctx context.Context, n int) (string, error) {
	switch n {
	case 3:
		return "", errors.New("no")
	case 7:
		os.Exit(3)
	}
	time.Sleep(2 * time.Millisecond)
	return sdk.Metadata(ctx)["traceparent"], nil
})

func TestMain(m *testing.M) {
	sdk.ServeChild(tell)
	goleak.VerifyTestMain(m)
}

// receive serves OTLP over HTTP, and returns its address and the spans so far.
func receive(t *testing.T) (url string, spans func() []*wire.Span) {
	t.Helper()
	var mu sync.Mutex
	var got []*wire.Span
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		text, err := io.ReadAll(body)
		var request collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(text, &request) != nil || r.URL.Path != "/v1/traces" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range request.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				got = append(got, scope.GetSpans()...)
			}
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []*wire.Span {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

// A run is a span below that of its caller, batches and failed items are spans below that of the run, and workloads in processes and on goroutines get it.
func TestSpansOfARun(t *testing.T) {
	const caller = "4bf92f3577b34da6a3ce929d0e0e4736"
	for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine} {
		t.Run(string(mode), func(t *testing.T) {
			url, spans := receive(t)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
			t.Setenv("TRACEPARENT", "00-"+caller+"-00f067aa0ba902b7-01")
			tracer, err := tracing.Open(t.Context(), "tell", func(err error) { t.Error(err) })
			if err != nil || tracer == nil {
				t.Fatal(tracer, err)
			}
			items := []int{0, 1, 2, 3, 4}
			if mode == host.ModeProcess {
				items = append(items, 7)
			}
			pool, err := host.OpenWorkload(t.Context(), tell, host.Config{Mode: mode, Workers: 1, Observer: tracer})
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			said, _ := pool.Map(tracer.Context(t.Context()), items)
			if err := pool.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := tracer.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			byName := map[string][]*wire.Span{}
			for _, s := range spans() {
				byName[s.GetName()] = append(byName[s.GetName()], s)
				if hex.EncodeToString(s.GetTraceId()) != caller || s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano() {
					t.Errorf("span %s: got the trace %x, from %d to %d", s.GetName(), s.GetTraceId(), s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano())
				}
			}
			roots := byName["run tell"]
			if len(roots) != 1 || hex.EncodeToString(roots[0].GetParentSpanId()) != "00f067aa0ba902b7" {
				t.Fatalf("got %d spans of the run, want one below the caller's", len(roots))
			}
			want := "00-" + caller + "-" + hex.EncodeToString(roots[0].GetSpanId()) + "-01"
			if said[0] != want {
				t.Errorf("the workload got the span %q, want %q", said[0], want)
			}
			if n := len(byName["failed item"]); n != len(items)-4 || len(byName["batch"]) == 0 || len(byName["item"]) == 0 {
				t.Errorf("got %d failed items, %d batches and %d items", n, len(byName["batch"]), len(byName["item"]))
			}
			for _, name := range []string{"batch", "failed item"} {
				for _, s := range byName[name] {
					if string(s.GetParentSpanId()) != string(roots[0].GetSpanId()) {
						t.Errorf("a span %s is not below that of the run", name)
					}
				}
			}
			for _, s := range byName["failed item"] {
				if s.GetStatus().GetCode() != wire.Status_STATUS_CODE_ERROR {
					t.Errorf("got the status %v of a failed item", s.GetStatus())
				}
			}
		})
	}
}

func TestNothingIsSentUnasked(t *testing.T) {
	for _, env := range []map[string]string{
		{"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
	} {
		t.Run(strings.ReplaceAll(env["OTEL_TRACES_EXPORTER"]+env["OTEL_SDK_DISABLED"], "/", " "), func(t *testing.T) {
			for key, value := range env {
				t.Setenv(key, value)
			}
			if tracer, err := tracing.Open(t.Context(), "x", func(error) {}); tracer != nil || err != nil {
				t.Errorf("got %v, %v, want no tracer", tracer, err)
			}
		})
	}
	var none *tracing.Tracer
	none.Observe(host.Sampled{})
	if ctx := none.Context(t.Context()); ctx != t.Context() || none.Close(t.Context()) != nil {
		t.Error("a nil tracer does something")
	}
}

// A collector that is not there, and a protocol that there is not, cost the spans and nothing else.
func TestACollectorThatIsNotThereIsSaid(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	tracer, err := tracing.Open(t.Context(), "x", func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := tracer.Close(ctx); err == nil {
		t.Error("got no error")
	}
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "pigeon")
	if _, err := tracing.Open(t.Context(), "x", func(error) {}); err == nil || !strings.Contains(err.Error(), `"pigeon"`) {
		t.Errorf("got %v, want the protocol in the error", err)
	}
}
