//go:build linux

package sandbox_test

import (
	"cmp"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/attempt"
)

const ok = "ok"

// openDir returns a folder that every user can enter.
func openDir(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for dir := folder; dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// target sets up what a host has that its workers must not reach.
func target(t *testing.T) attempt.Target {
	t.Helper()
	folder := openDir(t)
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	all, stop, err := attempt.OpenTarget(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return all
}

// targeted returns the environment that tells a plugin about its target.
func targeted(t *testing.T) []string {
	all := target(t)
	return append(all.Env(), "PLUGIN_UNIX_SOCKET_DIR="+all.Folder)
}

// Each attempt succeeds without walls, fails at basic and strict, and fails with each single layer that is expected to stop it.
func TestAttempts(t *testing.T) {
	runs := []struct {
		name    string
		level   sandbox.Level
		without []string
		layer   string // the only layer that is left
	}{
		{"off", sandbox.Off, nil, ""},
		{"basic", sandbox.Basic, nil, ""},
		{"strict", sandbox.Strict, nil, ""},
		{"seccomp alone", sandbox.Basic, []string{"landlock"}, "s"},
		{"landlock alone", sandbox.Basic, []string{"seccomp"}, "l"},
		{"namespaces alone", sandbox.Strict, []string{"seccomp", "landlock"}, "n"},
	}
	outcomes := map[string]map[string]string{}
	for _, r := range runs {
		t.Run(r.name, func(t *testing.T) {
			if r.layer == "l" && attempt.LandlockABI() == 0 {
				t.Skipf("the kernel has no Landlock: %v", sandbox.ErrNotSupported)
			}
			b := policyBox(t, sandbox.Policy{Level: r.level}, r.without...)
			got := start(t, b, targeted(t), "attempts").table()
			outcomes[r.name] = got
			for name, outcome := range got {
				e, known := attempt.Expect(name)
				if !known {
					t.Errorf("%s: nothing is expected of it", name)
				}
				want := map[string]string{"off": e.Off, "basic": e.Basic, "strict": e.Strict}[r.name]
				switch {
				case r.name == "off" && want == attempt.Anyway:
				case r.layer != "" && !strings.Contains(e.By, r.layer):
				case want != "" && outcome != want, want == "" && outcome == ok:
					t.Errorf("%s: got %s, want %s", name, outcome, cmp.Or(want, "an error"))
				}
			}
			if want := len(attempt.Names()); len(got) < want-3 { // three exist on one architecture only
				t.Errorf("got %d outcomes, want %d", len(got), want)
			}
		})
	}
	show(t, outcomes)
}

func show(t *testing.T, outcomes map[string]map[string]string) {
	columns := []string{"off", "basic", "strict", "seccomp alone", "landlock alone", "namespaces alone"}
	rows := []string{"attempt\t" + strings.Join(columns, "\t")}
	for _, name := range attempt.Names() {
		row := name
		for _, c := range columns {
			row += "\t" + outcomes[c][name]
		}
		rows = append(rows, row)
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(w, strings.Join(rows, "\n")+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
}
