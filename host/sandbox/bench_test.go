//go:build linux

package sandbox_test

import (
	"slices"
	"testing"
	"time"

	"github.com/parhost/parhost/host/sandbox"
)

// BenchmarkStart measures what a level costs: the time until the plugin runs, and the time until it has written its first line and has been removed.
// It reports the quickest tenth, because the other runs show how busy the machine was.
func BenchmarkStart(b *testing.B) {
	for _, c := range []struct {
		name   string
		policy sandbox.Policy
	}{
		{"off", sandbox.Policy{}},
		{"off, limits", sandbox.Policy{MemoryBytes: 256 << 20}},
		{"basic", sandbox.Policy{Level: sandbox.Basic}},
		{"strict", sandbox.Policy{Level: sandbox.Strict}},
	} {
		b.Run(c.name, func(b *testing.B) {
			box := policyBox(b, c.policy)
			var runs, gone []time.Duration
			for b.Loop() {
				begun := time.Now()
				w := start(b, box, nil, "wait")
				runs = append(runs, time.Since(begun))
				if line := w.line(); line != "ready" {
					b.Fatalf("got %q, want ready", line)
				}
				w.bury()
				gone = append(gone, time.Since(begun))
			}
			b.ReportMetric(tenth(runs), "ms-until-it-runs")
			b.ReportMetric(tenth(gone), "ms-until-it-is-gone")
		})
	}
}

// tenth returns the longest duration of the quickest tenth, in milliseconds.
func tenth(took []time.Duration) float64 {
	slices.Sort(took)
	return float64(took[len(took)/10].Microseconds()) / 1000
}
