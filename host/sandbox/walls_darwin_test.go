package sandbox_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var folders atomic.Uint32

// shortDir returns a folder below a link. Its path is short enough for a socket, unlike those of [testing.T.TempDir] on macOS.
func shortDir(t *testing.T) string {
	t.Helper()
	dir := fmt.Sprintf("/tmp/parhost-test-%d-%d", os.Getpid(), folders.Add(1))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// hostile builds the hostile plugin in a folder whose name would break a profile that contained it as text.
func hostile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), `a "b" (c) \ü;`, "hostile")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", path, "./testdata/hostile")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// wrapped returns the command of the hostile plugin in a box, with a folder for its socket. Every Mac must support level Basic.
func wrapped(t *testing.T, policy sandbox.Policy, env []string, args ...string) (*exec.Cmd, *sandbox.Launch) {
	t.Helper()
	path := hostile(t)
	b, err := sandbox.Open(t.Context(), policy, path, "")
	if err != nil {
		t.Fatalf("Open %+v: got the error %v", policy, err)
	}
	t.Cleanup(b.Close)
	sockets := shortDir(t)
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append([]string{"PLUGIN_UNIX_SOCKET_DIR=" + sockets}, env...)
	l, err := b.Wrap(cmd, 0)
	if err != nil {
		t.Fatalf("Wrap: got the error %v", err)
	}
	t.Cleanup(l.Close)
	return cmd, l
}

// The walls of a profile hold on this machine. Otherwise level basic would be refused.
func TestRehearsalsPass(t *testing.T) {
	for _, network := range []bool{false, true} {
		for _, fork := range []bool{false, true} {
			if err := sandbox.Rehearsed(t.Context(), network, fork); err != nil {
				t.Errorf("network %v, processes %v: got the error %v", network, fork, err)
			}
		}
	}
}

// Each attempt succeeds at off and fails at basic.
func TestAttempts(t *testing.T) {
	for level, stopped := range map[sandbox.Level]bool{sandbox.Off: false, sandbox.Basic: true} {
		t.Run(level.String(), func(t *testing.T) {
			folder := shortDir(t)
			for _, name := range []string{"secret", "spare"} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte("secret"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer tcp.Close()
			open, err := net.Listen("unix", filepath.Join(folder, "open"))
			if err != nil {
				t.Fatal(err)
			}
			defer open.Close()
			cmd, _ := wrapped(t, sandbox.Policy{Level: level}, []string{
				"HOSTILE_FOLDER=" + folder, "HOSTILE_TCP=" + tcp.Addr().String(), fmt.Sprintf("HOSTILE_PID=%d", os.Getpid()),
			}, "attempts")
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("got the error %v, want exit code 0\n%s", err, out)
			}
			n := 0
			for line := range strings.Lines(string(out)) {
				n++
				name, outcome, _ := strings.Cut(strings.TrimSpace(line), "\t")
				if stopped == (outcome == "ok") {
					t.Errorf("%s: got %s, want it to be stopped: %v", name, outcome, stopped)
				}
			}
			if n < 18 {
				t.Errorf("got %d outcomes, want 18", n)
			}
		})
	}
}

// A plugin listens in its folder. Its host reaches the socket there and nothing else.
func TestDial(t *testing.T) {
	cmd, l := wrapped(t, sandbox.Policy{Level: sandbox.Basic}, nil, "serve")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	path, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(path) != filepath.Join(l.Sockets(), "plugin1") {
		t.Fatalf("got the address %q and %v, want a socket in %q", path, err, l.Sockets())
	}
	c, err := l.Dial(t.Context(), "plugin1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, err := io.ReadAll(c); err != nil || string(b) != "!" {
		t.Errorf("got %q and %v, want the plugin's answer", b, err)
	}
	if err := os.Symlink("/tmp", filepath.Join(l.Sockets(), "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "nothing", "", "..", "../x"} {
		if err := l.Check(name); err == nil {
			t.Errorf("Check(%q): got no error", name)
		}
	}
}

// A plugin whose file grows beyond the limit dies, and Death says so.
func TestFileBytes(t *testing.T) {
	folder := t.TempDir()
	for level, policy := range map[string]sandbox.Policy{
		"off":   {FileBytes: 4096},
		"basic": {Level: sandbox.Basic, FileBytes: 4096, ReadWrite: []sandbox.Bind{{Source: folder}}},
	} {
		t.Run(level, func(t *testing.T) {
			cmd, l := wrapped(t, policy, nil, "fill", filepath.Join(folder, "file"))
			err := cmd.Run()
			if d := l.Death(cmd.ProcessState, false); err == nil || d.Cause == protocol.CauseExit && d.Code == 0 {
				t.Errorf("got the death %v, want one that tells", d)
			}
			info, err := os.Stat(filepath.Join(folder, "file"))
			if err != nil || info.Size() > 4096 {
				t.Errorf("got %v and %v, want a file of at most 4096 bytes", info, err)
			}
		})
	}
}

// A script runs if its interpreter is opened to it. Otherwise the error names what to open.
func TestAScriptNeedsItsInterpreter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho hello\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := sandbox.Open(t.Context(), sandbox.Policy{Level: sandbox.Basic}, path, "")
	needs, ok := errors.AsType[*sandbox.NeedsFilesError](err)
	if !ok || len(needs.Folders) != 1 || needs.Folders[0] != "/bin" {
		t.Fatalf("got %v, want an error that names /bin", err)
	}
	b, err := sandbox.Open(t.Context(), sandbox.Policy{Level: sandbox.Basic, ReadOnly: []sandbox.Bind{{Source: "/bin"}}}, path, "")
	if err != nil {
		t.Errorf("with /bin: got the error %v", err)
		return
	}
	b.Close()
}
