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

// another returns the path of a program that can replace the hostile plugin: a copy of /bin/false.
func another(t *testing.T) (path string) {
	t.Helper()
	program, err := os.ReadFile("/bin/false")
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "another")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// exits runs the plugin of a box and expects exit code 7.
func exits(t *testing.T, when string, b *sandbox.Box, path string) {
	t.Helper()
	w, err := startCmd(t, b, exec.Command(path, "exit", "7"), spawner(t))
	if err != nil {
		t.Fatalf("%s: got the error %v", when, err)
	}
	if _, d := w.rest(); d.Code != 7 {
		t.Errorf("%s: got %v, want exit code 7; stderr: %s", when, d, w.stderr)
	}
}

// Without a checksum too, workers run the file that was opened, even if its name now leads to another file or to nothing.
func TestWhatWasOpenedRuns(t *testing.T) {
	for name, replace := range map[string]func(path, other string) error{
		"replaced": func(path, other string) error { return os.Rename(other, path) },
		"removed":  func(path, _ string) error { return os.Remove(path) },
		"renamed":  func(path, _ string) error { return os.Rename(path, path+".old") },
		"a link":   func(path, other string) error { return errors.Join(os.Remove(path), os.Symlink(other, path)) },
		"a pipe":   func(path, _ string) error { return errors.Join(os.Remove(path), intruders["pipe"](path)) },
	} {
		t.Run(name, func(t *testing.T) {
			policies(t, func(t *testing.T, policy sandbox.Policy) {
				path, checksum := copied(t)
				b := mustOpen(t, policy, path)
				exits(t, "before", b, path)
				if err := replace(path, another(t)); err != nil {
					t.Fatal(err)
				}
				exits(t, "afterwards", b, path)
				exits(t, "once more", b, path)
				if got := b.Checksum(); got != checksum {
					t.Errorf("got the checksum %q, want %s", got, checksum)
				}
			})
		})
	}
}

// After a write to the file while no worker runs, no worker starts. Confined workers have a copy and still start.
func TestAFileThatIsWrittenToStartsNoWorker(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, b *sandbox.Box, path string){
		"another size": func(t *testing.T, _ *sandbox.Box, path string) { overwrite(t, path, []byte("\x7fELF")) },
		"the same size, at the same time": func(t *testing.T, b *sandbox.Box, path string) {
			if b.Checksum() == "" { // a pool that is older than learnAfter knows it
				t.Fatal("got no checksum")
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			program, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			program[len(program)-1]++
			overwrite(t, path, program)
			if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			policies(t, func(t *testing.T, policy sandbox.Policy) {
				path, _ := copied(t)
				b := mustOpen(t, policy, path)
				exits(t, "before", b, path)
				change(t, b, path)
				if policy.Level > sandbox.Off {
					exits(t, "afterwards", b, path)
					return
				}
				_, err := startCmd(t, b, exec.Command(path, "exit", "7"), spawner(t))
				if _, ok := errors.AsType[*sandbox.ChangedError](err); !ok || !strings.Contains(err.Error(), "was changed while the pool lives") {
					t.Errorf("start: got %v, want a ChangedError", err)
				}
				if name == "another size" && b.Checksum() != "" {
					t.Errorf("got the checksum %q of bytes that are not there any more", b.Checksum())
				}
			})
		})
	}
}

// overwrite writes into the existing file and does not replace it.
func overwrite(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

// Changing the permissions or times of a plugin's file, or linking to it, does not keep its workers from starting.
func TestAFileThatKeepsItsBytesStartsWorkers(t *testing.T) {
	path, _ := copied(t)
	b := mustOpen(t, sandbox.Policy{}, path)
	exits(t, "before", b, path)
	if b.Checksum() == "" {
		t.Fatal("got no checksum")
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, path, program)
	exits(t, "written with the same bytes", b, path)
	if err := errors.Join(os.Chmod(path, 0o700), os.Link(path, path+".link")); err != nil {
		t.Fatal(err)
	}
	exits(t, "with other rights, and a link", b, path)
}

// A process can execute a file that it cannot read.
func TestAnExecutableThatCannotBeReadRuns(t *testing.T) {
	path, _ := copied(t)
	if err := os.Chmod(path, 0o111); err != nil {
		t.Fatal(err)
	}
	b := mustOpen(t, sandbox.Policy{}, path)
	exits(t, "by its name", b, path)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	exits(t, "without its name", b, path)
}

// A script that has been replaced does not start. Neither does a script whose interpreter has been replaced.
func TestAScriptOrItsInterpreterThatIsReplacedStartsNoWorker(t *testing.T) {
	dir := openDir(t)
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	interpreter, script := dir+"/sh", dir+"/script"
	for name, change := range map[string]func() error{
		"script": func() error {
			return errors.Join(os.WriteFile(script+".new", []byte("#!"+interpreter+"\nexit 8\n"), 0o755), os.Rename(script+".new", script))
		},
		"interpreter": func() error {
			return errors.Join(os.WriteFile(interpreter+".new", append(shell, 0), 0o755), os.Rename(interpreter+".new", interpreter))
		},
	} {
		if err := errors.Join(os.WriteFile(interpreter, shell, 0o755), os.WriteFile(script, []byte("#!"+interpreter+"\nexit 7\n"), 0o755)); err != nil {
			t.Fatal(err)
		}
		b := mustOpen(t, sandbox.Policy{}, script)
		w, err := startCmd(t, b, exec.Command(script), spawner(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, d := w.rest(); d.Code != 7 {
			t.Errorf("%s: got %v, want exit code 7", name, d)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if _, err := startCmd(t, b, exec.Command(script), spawner(t)); !errors.As(err, new(*sandbox.ChangedError)) {
			t.Errorf("%s: got %v, want a ChangedError", name, err)
		}
	}
}

// Recheck finds a script that was replaced after its interpreter was started.
func TestAScriptThatIsReplacedAsItStartsIsFound(t *testing.T) {
	dir := t.TempDir()
	script := dir + "/script"
	writeScript(t, script, "read line\n")
	b := mustOpen(t, sandbox.Policy{}, script)
	l, err := b.Wrap(exec.Command(script), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Recheck(); err != nil {
		t.Errorf("as it was: got the error %v", err)
	}
	writeScript(t, script, "exit 8\n")
	if err := l.Recheck(); !errors.As(err, new(*sandbox.ChangedError)) {
		t.Errorf("replaced: got %v, want a ChangedError", err)
	}
}

// Self runs this program even if its file has been replaced.
func TestSelfIsWhatRuns(t *testing.T) {
	self, err := sandbox.Self()
	if err != nil {
		t.Fatal(err)
	}
	b := mustOpen(t, sandbox.Policy{}, self)
	want, err := sandbox.Checksum(self)
	if err != nil || b.Checksum() != want {
		t.Errorf("got the checksum %q and %v, want %s", b.Checksum(), err, want)
	}
}
