//go:build unix

package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gRPC would log faults of a plugin to stderr, as often as the plugin likes.
func TestGRPCSaysNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "parhost-plugin-rude")
	if out, err := exec.Command("go", "build", "-o", path, "./testdata/rude").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	out, err := exec.Command("parhost", "--plugin", path, "--start-timeout", "1s", "1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "describe") || strings.Contains(string(out), "too_many_pings") {
		t.Errorf("a run of a plugin that tells its host to be quiet: got %v, %d bytes, want an error at stage describe alone: %.200s", err, len(out), out)
	}
}
