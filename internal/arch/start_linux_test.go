package arch

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The start of a sandboxed worker includes the start of a launcher, which is the host's program. The launcher's package depends on package syscall.
// The linker initializes before it only packages with smaller names and as few dependencies; no other package may be initialized.
func TestALauncherBeginsBeforeItsHostDoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "parhost")
	if out, err := exec.Command("go", "build", "-o", path, module+"cmd/parhost").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(path)
	cmd.Env = []string{"PARHOST_SANDBOX_CONTROL=999"} // no such descriptor exists, so the launcher exits
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
