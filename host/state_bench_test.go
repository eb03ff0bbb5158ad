package host_test

import (
	"testing"

	"github.com/parhost/parhost/host"
)

// BenchmarkState is what one of the samples costs that an Observer gets ten times a second.
func BenchmarkState(b *testing.B) {
	for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine} {
		b.Run(string(mode), func(b *testing.B) {
			p := open(b, host.Config{Workload: chaos, Mode: mode, Workers: 8})
			for b.Loop() {
				p.State()
			}
		})
	}
}
