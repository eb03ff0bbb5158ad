package host

import (
	"testing"
	"time"
)

// BenchmarkSizer is what deciding on one batch costs: its size, whether it may wait, whether its items are timed, and what is
// learnt from it.
func BenchmarkSizer(b *testing.B) {
	s := sizer{workers: 2}
	left := 1 << 30
	b.ReportAllocs()
	for b.Loop() {
		n := s.size(left)
		if s.short() && !s.timed() {
			left++
		}
		s.observe(n, time.Duration(n)*time.Microsecond)
	}
}
