package cluster_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster"
)

// buildPlugin builds the executable of plugin sqrt.
func buildPlugin(t *testing.T) (path, sum string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "parhost-plugin-roots")
	cmd := exec.Command("go", "build", "-o", path, "github.com/parhost/parhost/plugins/sqrt/parhost-plugin-sqrt")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(content)
	return path, hex.EncodeToString(digest[:])
}

// roots runs a plugin on nine items and returns the last result.
func roots(t *testing.T, c *cluster.Cluster, cfg cluster.JobConfig) (last string, err error) {
	t.Helper()
	job, err := c.Open(t.Context(), cfg)
	if err != nil {
		return "", err
	}
	for r, err := range job.Stream(t.Context(), numbers(10)) {
		if err != nil {
			return last, err
		}
		last = string(r.Value)
	}
	return last, nil
}

func TestAPluginTravelsToTheNodesThatAllowIt(t *testing.T) {
	path, sum := buildPlugin(t)
	allow := func(e cluster.Executable) error {
		if e.SHA256 != sum || e.Name != "roots" {
			return errors.New("it is another")
		}
		return nil
	}
	t.Run("allowed", func(t *testing.T) {
		s := serve(t)
		cache := t.TempDir()
		join(t, connect(t, s), cluster.NodeConfig{Name: "node", Slots: 1, Allow: allow, CacheDir: cache})
		if last, err := roots(t, connect(t, s), cluster.JobConfig{Config: host.Config{Plugin: path}}); err != nil || last != "3" {
			t.Fatalf("got %q and %v, want the root of 9", last, err)
		}
		// What somebody has put in its place in the cache does not run.
		kept := filepath.Join(cache, sum, "parhost-plugin-roots")
		if err := os.WriteFile(kept, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		join(t, connect(t, s), cluster.NodeConfig{Name: "later", Pool: "later", Slots: 1, Allow: allow, CacheDir: cache})
		if last, err := roots(t, connect(t, s), cluster.JobConfig{Pool: "later", Config: host.Config{Plugin: path}}); err != nil || last != "3" {
			t.Errorf("with another file in the cache: got %q and %v, want the root of 9", last, err)
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		s := serve(t)
		join(t, connect(t, s), cluster.NodeConfig{Name: "node", Slots: 1})
		c := connect(t, s)
		_, err := roots(t, c, cluster.JobConfig{ID: "refused", Config: host.Config{Plugin: path}})
		unfit, ok := errors.AsType[*cluster.UnfitError](err)
		if !ok || len(unfit.Reasons) != 1 || unfit.Reasons[0].Kind != "refused" || !strings.Contains(unfit.Reasons[0].Message, sum) {
			t.Fatalf("got %v, want that the node refuses it", err)
		}
		e, err := c.Explain(t.Context(), "refused")
		if err != nil || e.Summary != "no node of the pool can run it, or may" || len(e.Nodes) != 1 || e.Nodes[0].Runs || !strings.Contains(e.Nodes[0].Why, "does not allow") {
			t.Errorf("got the explanation %+v and %v", e, err)
		}
	})
	t.Run("for another platform", func(t *testing.T) {
		s := serve(t)
		join(t, connect(t, s), cluster.NodeConfig{Name: "node", Slots: 1, Allow: allow})
		if _, err := connect(t, s).Open(t.Context(), cluster.JobConfig{Config: host.Config{Plugin: "roots"}}); !errors.Is(err, host.ErrNotFound) {
			t.Errorf("got %v for a plugin that is not there, want ErrNotFound", err)
		}
		_, err := roots(t, connect(t, s), cluster.JobConfig{Config: host.Config{Workload: unknown}})
		if unfit, ok := errors.AsType[*cluster.UnfitError](err); !ok || unfit.Reasons[0].Kind != "platform" {
			t.Errorf("got %v for a workload that no node has, want an UnfitError", err)
		}
	})
	t.Run("that does not start", func(t *testing.T) {
		s := serve(t)
		join(t, connect(t, s), cluster.NodeConfig{Name: "node", Slots: 1, Allow: func(cluster.Executable) error { return nil }})
		script := filepath.Join(t.TempDir(), "parhost-plugin-none")
		if err := os.WriteFile(script, []byte("#!/bin/sh\necho no such thing >&2\nexit 7\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := roots(t, connect(t, s), cluster.JobConfig{Config: host.Config{Plugin: script}})
		if unfit, ok := errors.AsType[*cluster.UnfitError](err); !ok || unfit.Reasons[0].Kind != "start" || !strings.Contains(err.Error(), "no such thing") {
			t.Errorf("got %v, want that it does not start, with its last words", err)
		}
	})
}

func TestResultsAreReadByOthers(t *testing.T) {
	s := serve(t)
	join(t, connect(t, s), cluster.NodeConfig{Name: "node", Slots: 1})
	c := connect(t, s)
	if last, err := roots(t, c, cluster.JobConfig{ID: "read", Config: host.Config{Workload: workloads[0]}}); err != nil || last != "3" {
		t.Fatalf("got %q and %v", last, err)
	}
	n := 0
	for r, err := range connect(t, s).Results(t.Context(), "read") {
		var root float64
		if err != nil || r.Index != n || json.Unmarshal(r.Value, &root) != nil {
			t.Fatalf("got %+v and %v, want result %d", r, err, n)
		}
		n++
	}
	if n != 10 {
		t.Errorf("got %d results, want 10", n)
	}
	for _, err := range c.Results(t.Context(), "other") {
		if !errors.Is(err, cluster.ErrNoJob) {
			t.Errorf("got %v, want ErrNoJob", err)
		}
	}
}
