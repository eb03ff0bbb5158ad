package joblog

import (
	"context"
	"encoding/json"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

func BenchmarkKeyOf(b *testing.B) {
	item := []byte(`{"number":12345,"seed":1}`)
	for b.Loop() {
		keyOf(item)
	}
}

func BenchmarkRecord(b *testing.B) {
	r := result{Index: 123456, Value: []byte("1.4142135623730951"), Worker: 1, PID: 12345, Attempts: 1, Wait: 90 * time.Microsecond, Run: 9 * time.Microsecond}
	h := head{n: 123456, key: keyOf([]byte("2"))}
	var line []byte
	for b.Loop() {
		line = appendRecord(line[:0], &h, &r)
	}
	b.SetBytes(int64(len(line)))
}

// BenchmarkOpenMillion measures the opening of a journal with a million records, with which --resume begins. The goal is 2 s.
func BenchmarkOpenMillion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "joblog")
	j, err := Open(Config{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	r := result{Value: []byte("1.4142135623730951"), Worker: 1, PID: 12345, Attempts: 1, Wait: 90 * time.Microsecond, Run: 9 * time.Microsecond}
	for i := range 1_000_000 {
		r.Index = i ^ 64 // simulates batches that finish out of order
		j.record(&head{n: -1, key: keyOf(strconv.AppendInt(nil, int64(r.Index), 10))}, &r)
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		j, err := Open(Config{Path: path, Resume: true})
		if err != nil {
			b.Fatal(err)
		}
		if n := j.Contents().Items; n != 1_000_000 {
			b.Fatalf("got %d items", n)
		}
		_ = j.Close()
	}
	b.ReportMetric(1e6*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkStream100k measures what a journal costs a run, with items that do nothing, on goroutines.
func BenchmarkStream100k(b *testing.B) {
	nothing := sdk.Func("nothing", func(_ context.Context, x float64) (float64, error) { return x, nil })
	p, err := host.Open(b.Context(), host.Config{Workload: nothing, Mode: host.ModeGoroutine, Workers: 2})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	items := func(yield func(json.RawMessage) bool) {
		for i := range 100_000 {
			if !yield(strconv.AppendInt(nil, int64(i), 10)) {
				return
			}
		}
	}
	run := func(b *testing.B, stream func(context.Context, *host.Pool, iter.Seq[json.RawMessage]) iter.Seq2[result, error]) {
		b.Helper()
		n := 0
		for r, err := range stream(b.Context(), p, items) {
			if err != nil || r.Err != nil {
				b.Fatal(err, r.Err)
			}
			n++
		}
		if n != 100_000 {
			b.Fatalf("got %d results", n)
		}
	}
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			run(b, func(ctx context.Context, p *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[result, error] {
				return host.BindJSON[json.RawMessage, json.RawMessage](p).Stream(ctx, items)
			})
		}
	})
	b.Run("journal", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "joblog")
		b.ReportAllocs()
		for b.Loop() {
			j, err := Open(Config{Path: path})
			if err != nil {
				b.Fatal(err)
			}
			run(b, j.Stream)
			b.StopTimer() // Close measures mostly the disk
			if err := j.Close(); err != nil {
				b.Fatal(err)
			}
			_ = os.Remove(path)
			b.StartTimer()
		}
	})
	b.Run("replay", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "joblog")
		b.ReportAllocs()
		for b.Loop() {
			j, err := Open(Config{Path: path, Resume: true})
			if err != nil {
				b.Fatal(err)
			}
			run(b, j.Stream)
			_ = j.Close()
		}
	})
}
