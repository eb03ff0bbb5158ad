package host_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/plugins/reduce"
	"github.com/parhost/parhost/plugins/sleep"
	"github.com/parhost/parhost/plugins/sqrt"
	"github.com/parhost/parhost/sdk"
)

func TestVerifyFindsThatTheBuiltInPluginsKeepTheirPromises(t *testing.T) {
	for _, w := range []sdk.AnyWorkload{reduce.Workload, sleep.Workload, sqrt.Workload} {
		t.Run(w.Manifest().Name, func(t *testing.T) {
			v, err := host.Verify(t.Context(), host.Config{Workload: w, Env: []string{"GORACE=atexit_sleep_ms=0"}}, json.RawMessage(oneMore[w.Manifest().Name]))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range v.Checks {
				if c.Status == "failed" || c.Name == "buffers" && (c.Status == "ok") != (runtime.GOOS == "linux") {
					t.Errorf("%s: %s: %s", c.Name, c.Status, c.Outcome)
				}
			}
		})
	}
}

// oneMore has one more item for each workload.
var oneMore = map[string]string{"reduce": `{"values":[1,2]}`, "sleep": "0.001", "sqrt": "2"}

func TestDescribeAsksWithoutASetUp(t *testing.T) {
	m, err := host.Describe(t.Context(), host.Config{Workload: sqrt.Workload})
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "sqrt" || m.ItemKind != "float64" || len(m.Examples) != 10 || !json.Valid(m.ItemSchema) || !json.Valid(m.ResultSchema) {
		t.Errorf("got %+v", m)
	}
}

func TestVerifyOfWhatIsNoPluginIsAStartError(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the program is a shell script")
	}
	path := filepath.Join(t.TempDir(), "rubbish")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho hello\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"Verify":   func() error { _, err := host.Verify(t.Context(), host.Config{Plugin: path}); return err },
		"Describe": func() error { _, err := host.Describe(t.Context(), host.Config{Plugin: path}); return err },
	} {
		var start *host.StartError
		if err := call(); !errors.As(err, &start) || start.Stage != "handshake" {
			t.Errorf("%s: got %v, want a start error of stage handshake", name, err)
		}
	}
	if _, err := host.Verify(t.Context(), host.Config{Plugin: "nosuch"}); !errors.Is(err, host.ErrNotFound) {
		t.Errorf("got %v, want %v", err, host.ErrNotFound)
	}
}

func TestCheckTempDir(t *testing.T) {
	if _, err := host.CheckTempDir(""); err != nil {
		t.Errorf("the system's folder: %v", err)
	}
	if _, err := host.CheckTempDir(filepath.Join(t.TempDir(), "nosuch")); err == nil {
		t.Error("a folder that is not there: got no error")
	}
	if runtime.GOOS == "windows" {
		return
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 80))
	if err := os.Mkdir(long, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := host.CheckTempDir(long); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("a folder with a long path: got %v, want the limit", err)
	}
	t.Setenv("TMPDIR", long)
	if used, err := host.CheckTempDir(""); err != nil || used != "/tmp" {
		t.Errorf("a default with a long path: got %q, %v, want /tmp", used, err)
	}
	if entries, err := os.ReadDir(long); err != nil || len(entries) > 0 {
		t.Errorf("%v was left behind (%v)", entries, err)
	}
}
