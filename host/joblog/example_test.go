package joblog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/joblog"
	"github.com/parhost/parhost/plugins/sqrt"
)

// This program may be killed at any time. When it is started again, it runs only the items that have no result yet.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for range 2 {
		if err := roots(context.Background(), filepath.Join(dir, "run.joblog")); err != nil {
			panic(err)
		}
	}
	// Output:
	// 2
	// 3
	// 0 results were there
	// 2
	// 3
	// 2 results were there
}

func roots(ctx context.Context, path string) error {
	cfg := host.Config{Workload: sqrt.Workload, Mode: host.ModeGoroutine}
	origin, err := joblog.OriginOf(cfg)
	if err != nil {
		return err
	}
	j, err := joblog.Open(joblog.Config{Path: path, Origin: origin, Resume: true})
	if err != nil {
		return err
	}
	defer j.Close()
	pool, err := host.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	items := []json.RawMessage{json.RawMessage("4"), json.RawMessage("9")}
	for result, err := range j.Stream(ctx, pool, slices.Values(items)) {
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(os.Stdout, "%s\n", result.Value)
	}
	_, _ = fmt.Fprintln(os.Stdout, j.Replayed(), "results were there")
	return j.Close()
}
