package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/history"
	"github.com/parhost/parhost/host/telemetry/metrics"
	"github.com/parhost/parhost/sdk"
)

// odd fails on every tenth item and dies of every hundredth.
var odd = sdk.Func("odd", func(_ context.Context, n int) (int, error) {
	switch {
	case n%100 == 99:
		os.Exit(3)
	case n%10 == 9:
		return 0, errors.New("no")
	}
	time.Sleep(50 * time.Microsecond)
	return n, nil
})

func TestMain(m *testing.M) {
	sdk.ServeChild(odd)
	goleak.VerifyTestMain(m)
}

// scrape returns what an exporter answers.
func scrape(t *testing.T, e *metrics.Exporter) string {
	t.Helper()
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if w.Code != 200 {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// The metrics of a run must agree with its results. Prometheus's own checker, promtool, must accept them.
func TestMetricsAgreeWithTheResults(t *testing.T) {
	s := history.New()
	pool, err := host.OpenWorkload(t.Context(), odd, host.Config{Workers: 2, Observer: s})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var items []int
	for n := range 1000 {
		items = append(items, n)
	}
	_, _ = pool.Map(t.Context(), items) // a hundred items fail
	looked := func() bool {
		workers := s.Workers()
		return len(workers) == 2 && !slices.ContainsFunc(workers, func(w history.Worker) bool { return w.RSS == 0 || w.Batches > 0 })
	}
	for deadline := time.Now().Add(20 * time.Second); !looked(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the workers were not looked at")
		}
	}
	var e metrics.Exporter
	e.Add("odd", "process", history.New()) // an earlier run of the same name
	e.Add("odd", "process", s)
	e.Add("a \"name\"\n\xff", "goroutine\xff", history.New())
	text := scrape(t, &e)
	for _, want := range []string{
		`parhost_items_total{mode="process",outcome="ok",plugin="odd"} 900`,
		`parhost_items_total{mode="process",outcome="failed",plugin="odd"} 100`,
		`parhost_item_failures_total{kind="crashed",mode="process",plugin="odd"} 10`,
		`parhost_item_failures_total{kind="failed",mode="process",plugin="odd"} 90`,
		`parhost_worker_deaths_total{cause="exit",mode="process",plugin="odd"} 10`,
		`parhost_item_duration_seconds_count{mode="process",plugin="odd"} 990`,
		`parhost_item_duration_seconds_bucket{mode="process",plugin="odd",le="+Inf"} 990`,
		`parhost_workers{mode="process",plugin="odd",state="busy"} 0`,
		`parhost_worker_resident_memory_bytes{mode="process",plugin="odd",worker="1"} `,
		`parhost_transferred_bytes_total{mode="process",path="messages",plugin="odd"} `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
	if runtime.GOOS == "linux" {
		for _, want := range []string{"process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds "} {
			if !strings.Contains(text, want) {
				t.Errorf("there is no %s", want)
			}
		}
	}
	if err := pool.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Prometheus may ask for the binary format, which refuses texts that are not UTF-8.
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
	r.Header.Set("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	e.ServeHTTP(w, r)
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/vnd.google.protobuf") {
		t.Errorf("the binary format: got %d and %s", w.Code, w.Header())
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("there is no promtool")
	}
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = bytes.NewReader([]byte(text))
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v: %s", err, out)
	}
}
