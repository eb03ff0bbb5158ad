package sleep

import (
	"testing"
	"time"
)

// BenchmarkSleep shows how much longer than requested a sleep of one millisecond takes.
func BenchmarkSleep(b *testing.B) {
	for b.Loop() {
		if _, err := Sleep(b.Context(), Duration(time.Millisecond)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)-float64(time.Millisecond), "ns-over")
}
