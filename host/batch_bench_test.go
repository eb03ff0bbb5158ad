package host

import (
	"testing"
	"time"
)

// BenchmarkSizer is what deciding on one batch costs: its size, whether it may wait, whether its items are timed, and what is
// learnt from it.
func BenchmarkSizer(b *testing.B) {
	s := newSizer(new(Config), 2, 1)
	left := 1 << 30
	b.ReportAllocs()
	for b.Loop() {
		n := s.size(left)
		if timed, _ := s.measures(); s.window(2) > 1 && !timed {
			left++
		}
		s.observe(trial{size: n, done: n, run: time.Duration(n) * time.Microsecond})
	}
}
