//go:build linux

package sandbox_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parhost/parhost/host/sandbox"
)

// copied is the hostile plugin in a file of the test's own, with its checksum.
func copied(t *testing.T) (path, checksum string) {
	t.Helper()
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(plugin)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(openDir(t), "plugin")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if checksum, err = sandbox.Checksum(path); err != nil {
		t.Fatal(err)
	}
	return path, checksum
}

// policies are those whose ways to start a process differ.
func policies(t *testing.T, test func(t *testing.T, policy sandbox.Policy)) {
	for name, policy := range map[string]sandbox.Policy{
		"off": {}, "off, descriptors": {OpenFiles: 64}, "off, file size": {FileBytes: 1 << 20},
		"basic": {Level: sandbox.Basic}, "strict": {Level: sandbox.Strict},
	} {
		t.Run(name, func(t *testing.T) {
			if err := sandbox.Rehearsed(t.Context(), policy.Level); errors.Is(err, sandbox.ErrNotSupported) && os.Geteuid() != 0 {
				t.Skip(err)
			}
			test(t, policy)
		})
	}
}

// With a checksum it is the bytes that were hashed which run, whatever lies in the file by then.
func TestWhatWasHashedRuns(t *testing.T) {
	policies(t, func(t *testing.T, policy sandbox.Policy) {
		path, checksum := copied(t)
		b, err := sandbox.Open(t.Context(), policy, path, strings.ToUpper(checksum))
		if err != nil {
			t.Fatalf("Open: got the error %v", err)
		}
		t.Cleanup(b.Close)
		if got := b.Checksum(); got != checksum {
			t.Errorf("got the checksum %s, want %s", got, checksum)
		}
		if err := os.WriteFile(path, []byte("#!/bin/false"), 0o755); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			w, err := startCmd(t, b, exec.Command(path, "exit", "7"), spawner(t))
			if err != nil {
				t.Fatal(err)
			}
			if _, d := w.rest(); d.Code != 7 {
				t.Errorf("got %v, want exit code 7; stderr: %s", d, w.stderr)
			}
		}
	})
}

func TestAnotherChecksumIsRefused(t *testing.T) {
	policies(t, func(t *testing.T, policy sandbox.Policy) {
		path, checksum := copied(t)
		want := strings.Repeat("5a", 32)
		b, err := sandbox.Open(t.Context(), policy, path, want)
		if err == nil {
			b.Close()
		}
		got, ok := errors.AsType[*sandbox.ChecksumError](err)
		if !ok || got.Path != path || got.Want != want || got.Got != checksum {
			t.Errorf("Open: got %v, want a ChecksumError of %s with %s for %s", err, path, checksum, want)
		}
		if errors.Is(err, sandbox.ErrNotSupported) {
			t.Errorf("got %v, which says that the machine is to blame", err)
		}
	})
}

// An interpreter reads its script once more at each start, so the file is hashed once more before that.
func TestAScriptIsHashedBeforeEachStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	checksum, err := sandbox.Checksum(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := sandbox.Open(t.Context(), sandbox.Policy{}, path, checksum)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	w, err := startCmd(t, b, exec.Command(path), spawner(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, d := w.rest(); d.Code != 7 {
		t.Errorf("got %v, want exit code 7", d)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 8\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = startCmd(t, b, exec.Command(path), spawner(t))
	if _, ok := errors.AsType[*sandbox.ChecksumError](err); !ok {
		t.Errorf("start of the changed script: got %v, want a ChecksumError", err)
	}
}
