//go:build linux

package sandbox_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/plain"
)

// copied copies the hostile plugin into a file of the test and returns its path and checksum.
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

// policies runs a test with policies that start processes in different ways.
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

// With a checksum, workers run the bytes that were hashed, whatever the file contains by then.
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

// An interpreter reads its script again at each start, so the host hashes the file again before each start.
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
	if _, ok := errors.AsType[*sandbox.ChangedError](err); !ok {
		t.Errorf("start of the changed script: got %v, want a ChangedError", err)
	}
}

// intruders put something in the place of a plugin that would block, or never end, when it is opened or read like a file.
var intruders = map[string]func(path string) error{
	"pipe": func(path string) error { return unix.Mkfifo(path, 0o700) },
	"link to a pipe": func(path string) error {
		return errors.Join(unix.Mkfifo(path+".pipe", 0o700), os.Symlink(path+".pipe", path))
	},
	"endless device":   func(path string) error { return os.Symlink("/dev/zero", path) },
	"file without end": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o700), os.Truncate(path, 1<<42)) },
}

// soon fails the test if call does not return within a minute.
func soon(t *testing.T, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("still busy after a minute")
		return nil
	}
}

func TestWhatIsNoPlainFileIsNoPlugin(t *testing.T) {
	for name, put := range intruders {
		t.Run(name, func(t *testing.T) {
			policies(t, func(t *testing.T, policy sandbox.Policy) {
				path := filepath.Join(openDir(t), "plugin")
				if err := put(path); err != nil {
					t.Fatal(err)
				}
				err := soon(t, func() error {
					b, err := sandbox.Open(t.Context(), policy, path, strings.Repeat("5a", 32))
					if err == nil {
						b.Close()
					}
					return err
				})
				if !errors.As(err, new(*plain.KindError)) && !errors.As(err, new(*plain.SizeError)) {
					t.Errorf("Open: got %v, want that it is no plain file, or too large", err)
				}
			})
			path := filepath.Join(t.TempDir(), "plugin")
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			if err := soon(t, func() error { _, err := sandbox.Checksum(path); return err }); err == nil {
				t.Error("Checksum: got no error")
			}
		})
	}
}

// A script may lie where others can write, and is opened again for each worker.
func TestAScriptThatIsReplacedHoldsNobodyUp(t *testing.T) {
	for name, put := range intruders {
		t.Run(name, func(t *testing.T) {
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
			if err := errors.Join(os.Remove(path), put(path)); err != nil {
				t.Fatal(err)
			}
			err = soon(t, func() error { _, err := b.Wrap(exec.Command(path), 0); return err })
			if !errors.As(err, new(*plain.KindError)) && !errors.As(err, new(*plain.SizeError)) {
				t.Errorf("start: got %v, want that it is no plain file, or too large", err)
			}
		})
	}
}

// The host reads the first line of a script into memory before it checks anything else, so the line's length is limited.
func TestAScriptHasAFirstLine(t *testing.T) {
	path := filepath.Join(openDir(t), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<30); err != nil {
		t.Fatal(err)
	}
	b, err := sandbox.Open(t.Context(), sandbox.Policy{}, path, strings.Repeat("5a", 32))
	if err == nil {
		b.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "its first line does not end within 4096 bytes") {
		t.Errorf("got %v, want that its first line has no end", err)
	}
}

// large makes a sparse file of the given size that begins like this program, or like a script.
func large(t *testing.T, size int64, script bool) string {
	t.Helper()
	path := filepath.Join(openDir(t), "plugin")
	head := []byte("#!/bin/sh\n")
	if !script {
		f, err := os.Open(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		head = make([]byte, 4096)
		if _, err := io.ReadFull(f, head); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(path, head, 0o700), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	return path
}

// fading is a context that ends after a few calls of its Err method.
type fading struct{ looks atomic.Int32 }

var _ context.Context = (*fading)(nil)

func (*fading) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*fading) Done() <-chan struct{}       { return nil }
func (*fading) Value(any) any               { return nil }

func (f *fading) Err() error {
	if f.looks.Add(1) > 5 {
		return context.Canceled
	}
	return nil
}

func TestALargePluginIsReadNoLongerThanItsContext(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	policies(t, func(t *testing.T, policy sandbox.Policy) {
		for name, c := range map[string]struct {
			later, script bool
			checksum      string
		}{
			"before": {}, "between pieces": {later: true}, "with a checksum": {checksum: strings.Repeat("5a", 32)}, "a script": {script: true},
		} {
			ctx := ended
			if c.later {
				ctx = &fading{}
			}
			if policy.Level == sandbox.Off && !c.script && c.checksum == "" {
				continue // held plugins are not read
			}
			b, err := sandbox.OpenAtOnce(ctx, policy, large(t, 256<<20, c.script), c.checksum)
			if err == nil {
				b.Close()
			}
			if !errors.Is(err, context.Canceled) || errors.Is(err, sandbox.ErrNotSupported) {
				t.Errorf("%s: got %v, want that the context has ended", name, err)
			}
		}
	})
}

func TestWhatIsNoExecutableIsNotCopied(t *testing.T) {
	path := filepath.Join(openDir(t), "plugin")
	if err := errors.Join(os.WriteFile(path, nil, 0o700), os.Truncate(path, 3<<30)); err != nil { // larger than the limit of a copy
		t.Fatal(err)
	}
	policies(t, func(t *testing.T, policy sandbox.Policy) {
		if policy.Level == sandbox.Off {
			return // off copies nothing
		}
		b, err := sandbox.OpenAtOnce(t.Context(), policy, path, "")
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "neither a script nor an executable") {
			t.Errorf("got %v, want that it is no executable", err)
		}
	})
}
