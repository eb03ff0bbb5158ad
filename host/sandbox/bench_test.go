//go:build linux

package sandbox_test

import (
	"testing"

	"github.com/parhost/parhost/host/sandbox"
)

// What a level costs: until the plugin's first word, and until nothing is left of it.
func BenchmarkStart(b *testing.B) {
	for name, policy := range map[string]sandbox.Policy{
		"off": {}, "off, limits": {MemoryBytes: 256 << 20}, "basic": {Level: sandbox.Basic}, "strict": {Level: sandbox.Strict},
	} {
		b.Run(name, func(b *testing.B) {
			box := policyBox(b, policy)
			for b.Loop() {
				w := start(b, box, nil, "wait")
				if line := w.line(); line != "ready" {
					b.Fatalf("got %q, want ready", line)
				}
				w.bury()
			}
		})
	}
}
