package sqrt

import "testing"

func BenchmarkSqrt(b *testing.B) {
	x := 0.0
	for b.Loop() {
		if _, err := Sqrt(b.Context(), x); err != nil {
			b.Fatal(err)
		}
		x++
	}
}
