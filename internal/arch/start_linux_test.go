package arch

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A sandboxed worker's start has the start of a launcher in it, which is the host's program. Its package waits for syscall, and the
// linker puts in front of that what comes before it by name and waits for as little; all else is not to be initialized at all.
func TestALauncherBeginsBeforeItsHostDoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "parhost")
	if out, err := exec.Command("go", "build", "-o", path, module+"cmd/parhost").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(path)
	cmd.Env = []string{"PARHOST_SANDBOX_CONTROL=999"} // there is none, so it ends
	var packages []string
	for _, p := range initialized(t, cmd) {
		packages = append(packages, p.path)
	}
	t.Logf("in front of it: %v", packages)
	if !slices.Contains(packages, "syscall") || slices.Contains(packages, "net") || len(packages) > 20 {
		t.Errorf("got %d packages initialized: %v; want at most 20, with syscall and without net", len(packages), packages)
	}
	for _, p := range packages {
		if first, _, _ := strings.Cut(p, "/"); strings.Contains(first, ".") {
			t.Errorf("got package %s initialized, want only some of the standard library's", p)
		}
	}
	if state := cmd.ProcessState; state == nil || state.ExitCode() != 1 {
		t.Errorf("got the end %v, want exit code 1", state)
	}
}
