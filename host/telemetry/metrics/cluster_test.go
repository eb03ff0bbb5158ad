package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/parhost/parhost/host/telemetry/metrics"
)

// Prometheus's own checker must accept the metrics, whatever nodes and pools are called.
func TestMetricsOfACluster(t *testing.T) {
	const evil = "a \"name\"\\\n# HELP x\n\xff"
	e := &metrics.ClusterExporter{Look: func(context.Context) (*metrics.Cluster, error) {
		return &metrics.Cluster{
			Pools: map[string]metrics.ClusterPool{"default": {Nodes: 2, Slots: 8, Busy: 3, Waiting: 5, Running: 4}, evil: {}},
			Jobs:  map[string]int{"running": 1, "done": 7}, Items: map[string]int{"one": 100, evil: 1, evil[:len(evil)-1] + "\uFFFD": 2}, Messages: 12, Bytes: 3400,
		}, nil
	}}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	text := w.Body.String()
	if w.Code != http.StatusOK {
		t.Fatalf("got %d: %s", w.Code, text)
	}
	for _, want := range []string{
		`parhost_cluster_nodes{pool="default"} 2`, `parhost_cluster_slots{pool="default"} 8`, `parhost_cluster_slots_busy{pool="default"} 3`,
		`parhost_cluster_batches_waiting{pool="default"} 5`, `parhost_cluster_batches_running{pool="default"} 4`,
		`parhost_cluster_jobs{state="running"} 1`, `parhost_cluster_items_total{node="one"} 100`,
		`parhost_server_stored_messages 12`, `parhost_server_stored_bytes 3400`, `go_goroutines `,
		`parhost_cluster_items_total{node="a \"name\"\\\n# HELP x\n` + "\uFFFD\"} ",
	} {
		if strings.Count(text, "\n"+want) != 1 {
			t.Errorf("%s is not there once", want)
		}
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

func TestMetricsOfAClusterThatDoesNotAnswer(t *testing.T) {
	e := &metrics.ClusterExporter{Look: func(context.Context) (*metrics.Cluster, error) { return nil, errors.New("no leader") }}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != "no leader\n" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}
