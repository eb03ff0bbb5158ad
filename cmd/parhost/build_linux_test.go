package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The go command blocks on a named pipe and ignores signals meanwhile. It must end with parhost, and parhost at the first signal.
func TestABuildEndsWithTheCommand(t *testing.T) {
	for key, value := range goEnv() {
		t.Setenv(key, value)
	}
	t.Setenv("XDG_CACHE_HOME", leftBehind(t))
	const goMod = "module example.com/plugin\n\ngo 1.25\n"
	for name, c := range map[string]struct {
		files map[string]string
		pipe  string
		flag  string // a flag of the user, with the pipe as its value
	}{
		"the go command": {
			files: map[string]string{"go.mod": goMod, "main.go": "package main\n\nfunc main() {}\n"},
			pipe:  "x/overlay.json",
			flag:  "-overlay=",
		},
		"the assembler": {
			files: map[string]string{"go.mod": goMod, "main.go": "package main\n\nfunc main() {}\n", "a.s": "#include \"x/wait\"\n"},
			pipe:  "x/wait",
		},
	} {
		for _, args := range [][]string{{"-p", "DIR", "--cgo", "4"}, {"plugins", "describe", "--cgo", "DIR"}} {
			for _, signal := range []os.Signal{os.Interrupt, os.Kill} {
				dir := t.TempDir()
				pipe := filepath.Join(dir, c.pipe)
				if err := os.Mkdir(filepath.Dir(pipe), 0o700); err != nil {
					t.Fatal(err)
				}
				for file, text := range c.files {
					if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if err := unix.Mkfifo(pipe, 0o600); err != nil {
					t.Fatal(err)
				}
				flags := ""
				if c.flag != "" {
					flags = c.flag + pipe
				}
				t.Setenv("GOFLAGS", flags)
				given := slices.Clone(args)
				given[slices.Index(given, "DIR")] = dir
				endsWithTheCommand(t, name, pipe, signal, given)
			}
		}
	}
}

// leftBehind returns a temporary folder in which processes that are being killed may still write when the test ends.
func leftBehind(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			err := os.RemoveAll(dir)
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Errorf("something still writes in it: %v", err)
				return
			}
		}
	})
	return dir
}

func TestTheDeadlineHoldsForTheBuildToo(t *testing.T) {
	for key, value := range goEnv() {
		t.Setenv(key, value)
	}
	t.Setenv("XDG_CACHE_HOME", leftBehind(t))
	dir := t.TempDir()
	for file, text := range map[string]string{
		"go.mod":  "module example.com/plugin\n\ngo 1.25\n\nrequire example.com/x v0.0.0\nreplace example.com/x => ./x\n",
		"main.go": "package main\n\nimport _ \"example.com/x\"\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "x"), 0o700), unix.Mkfifo(filepath.Join(dir, "x/go.mod"), 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "-p", dir, "--run-deadline", "1s", "4")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	late := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if code := exitOf(t, cmd); !late.Stop() || code != exitFailed || !strings.Contains(stderr.String(), "--run-deadline 1s while its plugin was built") {
		t.Errorf("got exit code %d and %q, want %d and the deadline", code, &stderr, exitFailed)
	}
}

func endsWithTheCommand(t *testing.T, name, pipe string, signal os.Signal, args []string) {
	t.Helper()
	cmd := command(t, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(2*time.Minute, func() {
		_ = cmd.Process.Kill()
		if f, err := os.OpenFile(pipe, os.O_RDONLY|unix.O_NONBLOCK, 0); err == nil { // if nobody has opened the pipe, let the test go on
			_ = f.Close()
		}
	})
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // blocks until the go command opens the pipe for reading
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if code := exitOf(t, cmd); !late.Stop() || signal == os.Interrupt && code != exitInterrupted {
		t.Errorf("%s, %q, %v: got exit code %d, want %d for an interrupt", name, args, signal, code, exitInterrupted)
	}
	gone := []unix.PollFd{{Fd: int32(w.Fd())}}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		_, err = unix.Poll(gone, int(time.Minute.Milliseconds()))
	}
	if err != nil || gone[0].Revents&unix.POLLERR == 0 {
		t.Errorf("%s, %q, %v: what the build started still reads: %v", name, args, signal, err)
	}
}
