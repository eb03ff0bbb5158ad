package joblog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/joblog"
	"github.com/parhost/parhost/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// origin is the origin of the results in most tests.
var origin = joblog.Origin{Workload: "test", SHA256: strings.Repeat("5a", 32), Plugin: "/plugin"}

// openPool opens a pool of two goroutines that run f.
func openPool(t *testing.T, f func(ctx context.Context, item json.RawMessage) (json.RawMessage, error)) *host.Pool {
	t.Helper()
	p, err := host.Open(t.Context(), host.Config{Workload: sdk.Func("test", f), Mode: host.ModeGoroutine, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// echo returns the item in brackets, and fails on items that begin with "f.
func echo(_ context.Context, item json.RawMessage) (json.RawMessage, error) {
	if bytes.HasPrefix(item, []byte(`"f`)) {
		return nil, fmt.Errorf("%s is refused", item)
	}
	return json.RawMessage("[" + string(item) + "]"), nil
}

func newPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "run.joblog")
}

// openJournal opens a journal that is closed when the test ends, if not before.
func openJournal(t *testing.T, path string, change ...func(*joblog.Config)) *joblog.Journal {
	t.Helper()
	cfg := joblog.Config{Path: path, Origin: origin, Resume: true}
	for _, c := range change {
		c(&cfg)
	}
	j, err := joblog.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func closeJournal(t *testing.T, j *joblog.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// texts returns items as JSON texts, the form in which the command passes them.
func texts(items ...string) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for _, item := range items {
			if !yield(json.RawMessage(item)) {
				return
			}
		}
	}
}

// numbers returns the items from 0 to n-1.
func numbers(n int) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for i := range n {
			if !yield(fmt.Appendf(nil, "%d", i)) {
				return
			}
		}
	}
}

type results = iter.Seq2[host.Result[json.RawMessage], error]

// lines takes at most n results and returns each as a line. If an error ends the stream, it is the last line.
func lines(stream results, n int) []string {
	var out []string
	for r, err := range stream {
		switch {
		case err != nil:
			return append(out, "end: "+err.Error())
		case r.Err != nil:
			out = append(out, r.Err.Error())
		default:
			out = append(out, fmt.Sprintf("item %d: %s", r.Index, r.Value))
		}
		if len(out) == n {
			break
		}
	}
	return out
}

const all = -1

// runAll opens a journal, runs items with it, closes it, and returns the lines of all results.
func runAll(t *testing.T, p *host.Pool, path string, items iter.Seq[json.RawMessage], change ...func(*joblog.Config)) []string {
	t.Helper()
	j := openJournal(t, path, change...)
	out := lines(j.Stream(t.Context(), p, items), all)
	closeJournal(t, j)
	return out
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func writeFile(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
