//go:build !race

package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// This test is left out under the race detector, which maps more memory than the limit allows. A program without cgo needs less than the limit.
func TestWorkersRunInALimitedAddressSpace(t *testing.T) {
	dir := t.TempDir()
	link := linkAs(t, dir, "parhost")
	for _, procs := range []string{"1", "8", "16"} {
		out := filepath.Join(dir, "values"+procs)
		cmd := exec.Command(shell(t), "-c", `ulimit -v 1700000; exec "$0" -p sleep -j "$1" --repeat 32 -o values 0.03 >"$2"`, link, procs, out)
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("with %s workers in 1.7 GB: got %v and %.1000s, want all items done", procs, err, text)
		}
	}
}
