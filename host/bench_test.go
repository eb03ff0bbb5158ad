//go:build unix

package host_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/plugins/sqrt"
)

// benchPools runs a benchmark on a warm pool of two workers in either mode.
func benchPools(b *testing.B, cfg host.Config, bench func(b *testing.B, p *host.Pool)) {
	for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine} {
		b.Run(string(mode), func(b *testing.B) {
			cfg.Workload, cfg.Mode, cfg.Workers = sqrt.Workload, mode, 2
			p := open(b, cfg)
			if _, err := typed[float64, float64](p).Map(b.Context(), upTo(1000)); err != nil {
				b.Fatal(err)
			}
			bench(b, p)
		})
	}
}

func benchMap(b *testing.B, p *host.Pool, n int) {
	b.Helper()
	items := upTo(n)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := typed[float64, float64](p).Map(b.Context(), items); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "items/s")
}

func BenchmarkMap100k(b *testing.B) {
	benchPools(b, host.Config{}, func(b *testing.B, p *host.Pool) { benchMap(b, p, 100_000) })
}

func BenchmarkMapSingleItems(b *testing.B) {
	benchPools(b, host.Config{Batch: 1, Window: 64}, func(b *testing.B, p *host.Pool) { benchMap(b, p, 10_000) })
}

func BenchmarkDo(b *testing.B) {
	benchPools(b, host.Config{}, func(b *testing.B, p *host.Pool) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := value(typed[float64, float64](p).Do(b.Context(), 2)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkStream100k(b *testing.B) {
	benchPools(b, host.Config{}, func(b *testing.B, p *host.Pool) {
		items := func(yield func(float64) bool) {
			for i := range 100_000 {
				if !yield(float64(i)) {
					return
				}
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			for _, err := range typed[float64, float64](p).Stream(b.Context(), items) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "items/s")
	})
}

// What it costs to bring large items to a process, and what it does not cost to build them where it sees them.
func BenchmarkLargeItems(b *testing.B) {
	const all = 64 << 20
	for _, size := range []int{64 << 10, 1 << 20, 8 << 20} {
		for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine} {
			p := open(b, host.Config{Workload: total, Mode: mode})
			buffer, err := host.NewBuffer[float64](p, all/8)
			if err != nil {
				b.Fatal(err)
			}
			for i, memory := range [][]float64{buffer.Slice, make([]float64, all/8)} {
				for i := range memory {
					memory[i] = float64(i)
				}
				items := slices.Collect(slices.Chunk(memory, size/8))
				b.Run(fmt.Sprintf("%d KiB/%s/%s", size>>10, mode, []string{"in a buffer", "the caller's"}[i]), func(b *testing.B) {
					b.SetBytes(all)
					for b.Loop() {
						if _, err := typed[[]float64, float64](p).Map(b.Context(), items); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

func BenchmarkOpenOneProcess(b *testing.B) {
	for b.Loop() {
		p, err := host.Open(b.Context(), host.Config{Workload: sqrt.Workload, Workers: 1})
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}

// BenchmarkCrash is how long an item that waits for the only worker is held up by that one's death, with and without one on standby.
func BenchmarkCrash(b *testing.B) {
	for _, standby := range []int{0, 1} {
		b.Run(fmt.Sprintf("standby=%d", standby), func(b *testing.B) {
			p := open(b, host.Config{Workload: chaos, Workers: 1, Standby: standby})
			var absent time.Duration
			for b.Loop() {
				for len(p.Workers()) <= standby { // its successor stands by in its turn
					time.Sleep(time.Millisecond)
				}
				gate := filepath.Join(b.TempDir(), "gate")
				h := typed[order, string](p).Start(b.Context(), order{Do: "hold", S: gate})
				waitFile(b, gate)
				waiting := typed[order, string](p).Start(b.Context(), order{Do: "echo"})
				killed := time.Now()
				if err := syscall.Kill(h.PID(), syscall.SIGKILL); err != nil {
					b.Fatal(err)
				}
				if _, err := waiting.Wait(b.Context()); err != nil {
					b.Fatal(err)
				}
				absent += time.Since(killed)
				_, _ = h.Wait(b.Context())
			}
			b.ReportMetric(float64(absent.Microseconds())/float64(b.N)/1000, "ms-absent")
		})
	}
}
