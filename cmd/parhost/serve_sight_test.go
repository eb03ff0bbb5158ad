//go:build !noserver

package main

import (
	"context"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// said waits until a command has said something that matches, and returns the first group.
func (c *console) said(t *testing.T, pattern string) string {
	t.Helper()
	form := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		c.mu.Lock()
		text := c.text.String()
		c.mu.Unlock()
		if found := form.FindStringSubmatch(text); found != nil {
			return found[1]
		}
	}
	t.Fatalf("nothing was said that matches %s: %s", pattern, c.text.String())
	return ""
}

// begin runs a command until the test ends.
func begin(t *testing.T, args ...string) *console {
	t.Helper()
	var c console
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() { done <- run(ctx, args, strings.NewReader(""), io.Discard, &c) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Errorf("parhost %s does not end", args)
		}
	})
	return &c
}

func fetch(t *testing.T, url, host string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// A server with users shows what all of them do, although nobody has an operator's key.
func TestAServerShowsItsCluster(t *testing.T) {
	dir := t.TempDir()
	list, submitter, node := filepath.Join(dir, "users.json"), filepath.Join(dir, "a.key"), filepath.Join(dir, "node.key")
	for _, args := range [][]string{{"keys", "submitter", submitter, "--tenant", "a"}, {"keys", "node", node}} {
		if code, _, stderr := call(t, nil, append(args, "--users", list)...); code != 0 {
			t.Fatalf("%v: got %d: %s", args, code, stderr)
		}
	}
	served := begin(t, "serve", "--listen", "127.0.0.1:0", "--store", dir, "--users", list, "--metrics", "127.0.0.1:0", "--ui", "127.0.0.1:0")
	page, metrics := served.said(t, `the cluster's page: (http://\S+#[A-Z0-9]+)`), served.said(t, `metrics for Prometheus: (\S+)`)
	url := served.said(t, `on each machine: parhost worker --cluster (\S+)`)
	worker := begin(t, "worker", "--cluster", url, "--key", node, "--name", "one", "--procs", "2")
	worker.said(t, `(takes batches)`)
	code, stdout, stderr := call(t, nil, "--plugin", "sqrt", "--cluster", url, "--key", submitter, "--tenant", "a", "--job-id", "roots", "--output", "values", "4", "9")
	if code != 0 || stdout != "2\n3\n" {
		t.Fatalf("got %d, %q: %s", code, stdout, stderr)
	}
	text := ""
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(text, `parhost_cluster_items_total{node="one"} 2`); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the node's items are not among the metrics: ", text)
		}
		if code, text = fetch(t, metrics, ""); code != http.StatusOK {
			t.Fatalf("%s: got %d %s", metrics, code, text)
		}
	}
	for _, want := range []string{
		`parhost_cluster_nodes{pool="default"} 1`, `parhost_cluster_slots{pool="default"} 2`, `parhost_cluster_jobs{state="done"} 1`,
		`parhost_cluster_jobs{state="running"} 0`, `parhost_cluster_batches_waiting{pool="default"} 0`, `parhost_server_stored_bytes `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s in %s", want, text)
		}
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
		check.Stdin = strings.NewReader(text)
		if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool: %v: %s", err, out)
		}
	}
	base, token, _ := strings.Cut(page, "#")
	for path, want := range map[string]int{"": 200, "metrics": 200, "healthz": 200, "events": 401, "events?token=" + strings.ToLower(token): 401} {
		if code, text := fetch(t, base+path, ""); code != want {
			t.Errorf("/%s: got %d %s, want %d", path, code, text, want)
		}
	}
	if code, text := fetch(t, strings.Replace(metrics, "/metrics", "/healthz", 1), ""); code != http.StatusOK || text != "healthy\n" {
		t.Errorf("/healthz: got %d %q", code, text)
	}
	if code, _ := fetch(t, metrics, "evil.example"); code != http.StatusForbidden {
		t.Errorf("metrics by a name of another site: got %d, want 403", code)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestOtherMachinesSeeAClusterOnlyIfTheyMay(t *testing.T) {
	for _, flag := range []string{"--ui", "--metrics"} {
		code, _, stderr := call(t, nil, "serve", "--listen", "127.0.0.1:0", "--store", t.TempDir(), flag, "0.0.0.0:0")
		if code != exitUsage || !strings.Contains(stderr, flag+" 0.0.0.0:0 can be reached from other machines") || !strings.Contains(stderr, "--ui-public") {
			t.Errorf("%s: got %d %s", flag, code, stderr)
		}
	}
}
