package sleep

import (
	"testing"
	"time"
)

// BenchmarkSleep is how much longer than asked for a millisecond takes.
func BenchmarkSleep(b *testing.B) {
	for b.Loop() {
		if _, err := Sleep(b.Context(), Duration(time.Millisecond)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)-float64(time.Millisecond), "ns-over")
}
