package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The command must run its own workloads at each sandbox level without extra flags, whether it was built with cgo (Go's default) or without.
func TestEachBuildRunsAtEachLevel(t *testing.T) {
	dir := t.TempDir()
	for folder := dir; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil { // if the host is root, workers run as other users
			t.Fatal(err)
		}
	}
	for _, cgo := range []string{"0", "1"} {
		if _, err := exec.LookPath("gcc"); cgo == "1" && err != nil {
			t.Skipf("no C compiler: %v", err)
		}
		parhost := filepath.Join(dir, "parhost"+cgo)
		build := exec.Command("go", "build", "-o", parhost, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		for _, level := range []string{"basic", "strict"} {
			for _, line := range []string{
				"--plugin reduce --procs 2", "--plugin sqrt --range 0:1000 --output none", "--plugin sleep --procs 2 --repeat 4 0.01", "--plugin reduce --procs 2 --compare",
				"--plugin reduce --memory 512MiB",
			} {
				cmd := exec.Command(parhost, append(strings.Fields(line), "--sandbox", level)...)
				out, err := cmd.CombinedOutput()
				if cmd.ProcessState.ExitCode() == exitNoSandbox && !strings.Contains(string(out), "needs more files") {
					if os.Geteuid() == 0 {
						t.Errorf("%s at %s: no sandbox here: %s", line, level, out)
					}
					continue
				}
				if err != nil {
					t.Errorf("CGO_ENABLED=%s, %s at %s: got %v: %s", cgo, line, level, err, out)
				}
			}
		}
	}
}
