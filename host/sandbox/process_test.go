//go:build linux

package sandbox_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/attempt"
	"github.com/parhost/parhost/internal/gone"
	"github.com/parhost/parhost/protocol"
)

// A plugin has the descriptors that its command lists, with the same numbers, and no others.
func TestDescriptors(t *testing.T) {
	const inherited = 200 // a descriptor that the host has inherited from its own parent
	levels(t, func(t *testing.T, level sandbox.Level) {
		for name, policy := range map[string]sandbox.Policy{"plain": {Level: level}, "limited": {Level: level, OpenFiles: 64}} {
			t.Run(name, func(t *testing.T) {
				if err := unix.Dup3(int(os.Stderr.Fd()), inherited, 0); err != nil {
					t.Fatal(err)
				}
				defer unix.Close(inherited)
				got := start(t, policyBox(t, policy), nil, "descriptors").table()
				// Descriptor 0 is /dev/null, 1 and 2 are stdout and stderr, 3 is the pipe in the command.
				want := map[string]string{"0": "020000", "1": "010000", "2": "010000", "3": "010000"}
				if level == sandbox.Off { // ignore descriptors that Go's runtime opens
					maps.DeleteFunc(got, func(fd, _ string) bool { return want[fd] == "" && fd != strconv.Itoa(inherited) })
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("descriptors (-want +got):\n%s", diff)
				}
			})
		}
	})
}

// A plugin has no privileges, no groups, and only the environment that it was given.
func TestStatus(t *testing.T) {
	t.Setenv("PARHOST_TEST_SECRET", "of the host")
	levels(t, func(t *testing.T, level sandbox.Level) {
		got := start(t, policyBox(t, sandbox.Policy{Level: level}), []string{"A=1", "HOME=/home/of/the/host"}, "status").table()
		var env []string
		for name := range got {
			if key, ok := strings.CutPrefix(name, "env "); ok {
				env = append(env, key)
			}
		}
		if got["env A"] != "1" || got["env PARHOST_TEST_SECRET"] != "" || len(env) > 6 {
			t.Errorf("got the environment %v, want what was given", env)
		}
		if want := `"status"]`; !strings.HasSuffix(got["arguments"], want) {
			t.Errorf("got the arguments %s, want them to end with %s", got["arguments"], want)
		}
		if level == sandbox.Off {
			return
		}
		for name, want := range map[string]string{"no_new_privs": "1", "capabilities": "[{0 0 0} {0 0 0}]"} {
			if got[name] != want {
				t.Errorf("got %s %s, want %s", name, got[name], want)
			}
		}
		host := strconv.Itoa(os.Geteuid())
		if os.Geteuid() == 0 && (got["uid"] == host || got["groups"] != "[]") {
			t.Errorf("got the user %s with the groups %s, want one of its own with none", got["uid"], got["groups"])
		}
		if level == sandbox.Strict && (got["uid"] != "1000" || got["pid"] != "1" || got["folder"] != "/tmp <nil>" || got["env HOME"] != "/tmp") {
			t.Errorf("got uid %s, pid %s, folder %s, HOME %s; want 1000, 1, /tmp, /tmp", got["uid"], got["pid"], got["folder"], got["env HOME"])
		}
	})
}

// The host connects to the plugin's socket and to nothing else, whatever is in the folder and whatever name the plugin reports.
func TestDial(t *testing.T) {
	levels(t, func(t *testing.T, level sandbox.Level) {
		env := []string{"PLUGIN_UNIX_SOCKET_DIR=" + t.TempDir()}
		w := start(t, policyBox(t, sandbox.Policy{Level: level}), env, "serve")
		address := w.line()
		if filepath.Dir(address) != w.launch.Sockets() {
			t.Errorf("plugin listens at %q, want a socket in %q", address, w.launch.Sockets())
		}
		c, err := w.launch.Dial(t.Context(), filepath.Base(address))
		if err != nil {
			t.Fatalf("Dial: got the error %v", err)
		}
		defer c.Close()
		if b, err := io.ReadAll(c); string(b) != "!" || err != nil {
			t.Errorf("read: got %q and %v, want !", b, err)
		}
		for _, name := range []string{"", ".", "..", "../x", "/etc/passwd", "nothing"} {
			if c, err := w.launch.Dial(t.Context(), name); err == nil {
				c.Close()
				t.Errorf("Dial(%q): got a connection, want an error", name)
			}
		}
		w.bury()
		if _, err := w.launch.Dial(t.Context(), filepath.Base(address)); err == nil {
			t.Error("Dial after Close: got a connection, want an error")
		}
	})
}

func TestDialDoesNotFollowLures(t *testing.T) {
	levels(t, func(t *testing.T, level sandbox.Level) {
		env := append(target(t).Env(), "PLUGIN_UNIX_SOCKET_DIR="+t.TempDir())
		w := start(t, policyBox(t, sandbox.Policy{Level: level}), env, "lure")
		for line := w.line(); line != "ready"; line = w.line() {
			name, outcome, _ := strings.Cut(line, "\t")
			if level == sandbox.Off && outcome != ok {
				t.Errorf("%s at off: got %s, want ok", name, outcome)
			}
		}
		for _, name := range []string{"link", "file", "folder"} {
			if c, err := w.launch.Dial(t.Context(), name); err == nil {
				c.Close()
				t.Errorf("Dial(%q): got a connection, want an error", name)
			}
		}
	})
}

// What a strict plugin writes is limited in bytes and in names, and never lies on a disk of the host.
func TestTmpIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		command, folder string
		most            int
	}{
		"tmp, bytes":     {"fill", "/tmp", 1 << 20},
		"tmp, names":     {"fillnames", "/tmp", 4096},
		"sockets, bytes": {"fill", "/run/plugin", 16 << 10},
		"sockets, names": {"fillnames", "/run/plugin", 32},
	} {
		t.Run(name, func(t *testing.T) {
			b := policyBox(t, sandbox.Policy{Level: sandbox.Strict, TmpBytes: 1 << 20})
			text, _ := start(t, b, nil, c.command, c.folder).rest()
			count, outcome, _ := strings.Cut(strings.TrimSpace(text), "\t")
			n, err := strconv.Atoi(count)
			if err != nil || n > c.most || n < c.most/2 || outcome == ok {
				t.Errorf("got %q, want an error after at most %d", text, c.most)
			}
		})
	}
}

// The files of a policy can be used as the policy says, and other files cannot, even if the kernel's Landlock is too old to check all operations.
func TestBinds(t *testing.T) {
	levels(t, func(t *testing.T, level sandbox.Level) {
		if level == sandbox.Off {
			return
		}
		if level == sandbox.Basic && attempt.LandlockABI() == 0 {
			t.Skipf("files are guarded by their permissions alone, because the kernel has no Landlock: %v", sandbox.ErrNotSupported)
		}
		read, write := openDir(t), openDir(t)
		for _, dir := range []string{read, write} {
			if err := errors.Join(os.Chmod(dir, 0o777), os.WriteFile(dir+"/file", []byte("x"), 0o666), os.Chmod(dir+"/file", 0o666)); err != nil {
				t.Fatal(err)
			}
		}
		policy := sandbox.Policy{Level: level, ReadOnly: []sandbox.Bind{{Source: read}}, ReadWrite: []sandbox.Bind{{Source: write}}}
		seenRead, seenWrite := read, write
		if level == sandbox.Strict {
			policy.ReadOnly[0].Target, policy.ReadWrite[0].Target = "/data/in", "/data/out"
			seenRead, seenWrite = "/data/in", "/data/out"
		}
		allowed := map[string]bool{
			"read:" + seenRead + "/file": true, "write:" + seenRead + "/file": false, "create:" + seenRead + "/new": false, "cut:" + seenRead + "/file": false,
			"read:" + seenWrite + "/file": true, "write:" + seenWrite + "/file": true, "create:" + seenWrite + "/new": true, "read:/etc/hosts": false,
		}
		for name, without := range map[string][]string{"all": nil, "Landlock before ABI 3": {"landlock 3"}} {
			got := start(t, policyBox(t, policy, without...), nil, append([]string{"files"}, slices.Collect(maps.Keys(allowed))...)...).table()
			for attempt, want := range allowed {
				if (got[attempt] == ok) != want {
					t.Errorf("%s, %s: got %s, want ok %v", name, attempt, got[attempt], want)
				}
			}
			if text, err := os.ReadFile(read + "/file"); string(text) != "x" {
				t.Errorf("%s: the file that may be read holds %q (%v), want x", name, text, err)
			}
		}
	})
}

// Binds stay the files that they were when the box was opened. A name that leads to something else by then, because another worker has changed it, is
// refused.
func TestBindsStayWhatTheyWere(t *testing.T) {
	levels(t, func(t *testing.T, level sandbox.Level) {
		if level == sandbox.Off {
			return
		}
		if level == sandbox.Basic && attempt.LandlockABI() == 0 {
			t.Skipf("files are guarded by their permissions alone, because the kernel has no Landlock: %v", sandbox.ErrNotSupported)
		}
		folder := openDir(t)
		lib := folder + "/lib"
		if err := os.Mkdir(lib, 0o755); err != nil {
			t.Fatal(err)
		}
		b := policyBox(t, sandbox.Policy{Level: level, ReadOnly: []sandbox.Bind{{Source: lib}}})
		start(t, b, nil, "exit", "0").rest()
		if err := errors.Join(os.Rename(lib, folder+"/away"), os.Symlink("/", lib)); err != nil {
			t.Fatal(err)
		}
		_, err := tryStart(t, b, nil, "exit", "0")
		if e, ok := errors.AsType[*sandbox.StageError](err); !ok || !strings.Contains(e.Error(), "another file or folder than when the sandbox was opened") {
			t.Errorf("start: got %v, want an error that says that it is another folder", err)
		}
	})
}

// A policy must not open a file by a name inside a folder that workers can change.
func TestBindsWithinWhatWorkersChange(t *testing.T) {
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	folder, other := openDir(t), openDir(t)
	if err := errors.Join(os.Mkdir(folder+"/in", 0o755), os.Symlink(folder+"/in", folder+".link")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(folder + ".link") })
	bind := func(source, target string) []sandbox.Bind { return []sandbox.Bind{{Source: source, Target: target}} }
	for name, policy := range map[string]sandbox.Policy{
		"read-only":      {Level: sandbox.Basic, ReadWrite: bind(folder, ""), ReadOnly: bind(folder+"/in", "")},
		"by a link":      {Level: sandbox.Basic, ReadWrite: bind(folder, ""), ReadOnly: bind(folder+".link", "")},
		"the same":       {Level: sandbox.Strict, ReadWrite: bind(folder, "/a"), ReadOnly: bind(folder, "/b")},
		"elsewhere":      {Level: sandbox.Strict, ReadWrite: bind(folder, "/a"), ReadOnly: bind(folder+"/in", "/b")},
		"shown within":   {Level: sandbox.Strict, ReadWrite: bind(folder, "/a"), ReadOnly: bind(other, "/a/other")},
		"both to change": {Level: sandbox.Strict, ReadWrite: append(bind(folder, "/a"), bind(folder+"/in", "/b")...)},
	} {
		if err := sandbox.Rehearsed(t.Context(), policy.Level); errors.Is(err, sandbox.ErrNotSupported) && os.Geteuid() != 0 {
			continue
		}
		b, err := sandbox.Open(t.Context(), policy, plugin, "")
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "which workers may change") {
			t.Errorf("%s: got %v, want an error that names what workers may change", name, err)
		}
	}
}

// Building a private root creates nothing outside of it.
func TestNoBindLeadsOverALink(t *testing.T) {
	outside, inside := openDir(t), openDir(t)
	if err := os.Symlink(outside, inside+"/link"); err != nil {
		t.Fatal(err)
	}
	policy := sandbox.Policy{Level: sandbox.Strict, ReadOnly: []sandbox.Bind{{Source: inside, Target: "/x"}, {Source: openDir(t), Target: "/x/link/sub"}}}
	_, err := tryStart(t, policyBox(t, policy), nil, "exit", "0")
	if err == nil || !strings.Contains(err.Error(), "/x/link is a link there") {
		t.Errorf("got the error %v, want one about the link", err)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("where the link leads: got %v and %v, want nothing", left, err)
	}
}

// Workers that run as the host's own user do not get the folder that holds sockets.
func TestSocketsAreNotWorkersToChange(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root's workers are users of their own")
	}
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	b, err := sandbox.Open(t.Context(), sandbox.Policy{Level: sandbox.Basic, ReadWrite: []sandbox.Bind{{Source: os.TempDir()}}}, plugin, "")
	if err == nil {
		b.Close()
	}
	if errors.Is(err, sandbox.ErrNotSupported) {
		t.Skip(err)
	}
	if err == nil || !strings.Contains(err.Error(), "holds the sockets of workers") {
		t.Errorf("Open: got %v, want an error that says what the folder holds", err)
	}
}

// A worker cannot execute another program, or its own once more, unless the policy allows it to start processes. The seccomp filter prevents it.
// Landlock prevents it too, if the program is a file.
func TestWorkersStayTheirProgram(t *testing.T) {
	levels(t, func(t *testing.T, level sandbox.Level) {
		if level == sandbox.Off {
			return
		}
		plugin, err := hostile()
		if err != nil {
			t.Fatal(err)
		}
		program, err := os.ReadFile(plugin)
		if err != nil {
			t.Fatal(err)
		}
		other := filepath.Join(openDir(t), "other")
		if err := os.WriteFile(other, program, 0o755); err != nil {
			t.Fatal(err)
		}
		env := []string{"HOSTILE_PLACE=1024"}
		policy := sandbox.Policy{Level: level, ReadOnly: []sandbox.Bind{{Source: filepath.Dir(other)}}}
		run := "run:" + other
		for _, what := range []string{run, "run:/proc/self/exe"} {
			if got := start(t, policyBox(t, policy), env, "files", what).table()[what]; got != "EPERM" {
				t.Errorf("%s: got %s, want EPERM", what, got)
			}
		}
		if attempt.LandlockABI() > 0 {
			if got := start(t, policyBox(t, policy, "seccomp"), env, "files", run).table()[run]; got != "EACCES" {
				t.Errorf("%s without a filter: got %s, want EACCES", run, got)
			}
		}
		policy.AllowFork = true
		if text, d := start(t, policyBox(t, policy), env, "files", run).rest(); d.Code != 7 {
			t.Errorf("%s with AllowFork: got %q and %v, want its exit code 7", run, text, d)
		}
	})
}

func TestAllowNet(t *testing.T) {
	levels(t, func(t *testing.T, level sandbox.Level) {
		if level == sandbox.Off {
			return
		}
		address := target(t).TCP
		for _, allow := range []bool{true, false} {
			b := policyBox(t, sandbox.Policy{Level: level, AllowNet: allow})
			if got := start(t, b, nil, "files", "connect:"+address).table()["connect:"+address]; (got == ok) != allow {
				t.Errorf("connect with AllowNet %v: got %s", allow, got)
			}
		}
	})
}

// A worker that may start processes cannot start more than the limit, and none of them survives the worker.
func TestAllowFork(t *testing.T) {
	levels(t, func(t *testing.T, level sandbox.Level) {
		if level == sandbox.Off {
			return
		}
		if level == sandbox.Basic && !counts(t, "pids") {
			t.Skipf("what leaves its group is out of reach without a cgroup or a namespace: %v", sandbox.ErrNotSupported)
		}
		b := policyBox(t, sandbox.Policy{Level: level, AllowFork: true})
		w := start(t, b, nil, "escape")
		if line := w.line(); line != "ready" {
			t.Fatalf("got %q, want ready", line)
		}
		w.bury()
		// The child holds the write end of stdout, so reading ends when the child ends.
		if _, err := io.Copy(io.Discard, w.out); err != nil {
			t.Fatal(err)
		}
	})
}

// Death reports how a process ended.
func TestDeath(t *testing.T) {
	levels(t, func(t *testing.T, level sandbox.Level) {
		b := policyBox(t, sandbox.Policy{Level: level})
		for args, want := range map[string]sandbox.Death{
			"exit 0": {Cause: protocol.CauseExit},
			"exit 7": {Cause: protocol.CauseExit, Code: 7},
			"panic":  {Cause: protocol.CauseExit, Code: 2},
			"group":  {Cause: protocol.CauseSignal, Code: -1, Signal: "SIGKILL"},
		} {
			if level == sandbox.Strict && args == "group" {
				continue // the first process of a PID namespace cannot kill itself
			}
			if _, got := start(t, b, nil, strings.Fields(args)...).rest(); got != want {
				t.Errorf("%s: got %+v, want %+v", args, got, want)
			}
		}
	})
}

// Workers run the bytes that were in the file when the box was opened.
func TestProgramIsRead(t *testing.T) {
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(plugin)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := sandbox.Open(t.Context(), sandbox.Policy{Level: sandbox.Basic}, path, "")
	if errors.Is(err, sandbox.ErrNotSupported) && os.Geteuid() != 0 {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := os.WriteFile(path, []byte("#!/bin/false"), 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := startCmd(t, b, exec.Command(path, "exit", "7"), spawner(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, d := w.rest(); d.Code != 7 {
		t.Errorf("got %v, want exit code 7", d)
	}
	if len(b.Checksum()) != 64 {
		t.Errorf("got the checksum %q, want 64 digits", b.Checksum())
	}
}

// A script whose interpreter needs modules is refused by Open with the folders that it needs. With these folders it runs.
func TestNeedsFiles(t *testing.T) {
	script := func(first string) []string {
		path := filepath.Join(openDir(t), "script")
		if err := os.WriteFile(path, []byte(first+"\nexit 7\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return []string{path}
	}
	bin := filepath.Join(openDir(t), "bin")
	if err := errors.Join(os.Mkdir(bin, 0o755), os.Symlink("/bin/sh", bin+"/language")); err != nil { // an interpreter by this name may need modules
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for name, args := range map[string][]string{
		"by its path": script("#!" + bin + "/language"), "by env": script("#!/usr/bin/env language"), "by env, with more": script("#! /usr/bin/env -S language -e"),
	} {
		for _, level := range []sandbox.Level{sandbox.Basic, sandbox.Strict} {
			t.Run(name+", "+level.String(), func(t *testing.T) {
				if err := sandbox.Rehearsed(t.Context(), level); errors.Is(err, sandbox.ErrNotSupported) && os.Geteuid() != 0 {
					t.Skip(err)
				}
				policy := sandbox.Policy{Level: level}
				b, err := sandbox.OpenWithout(policy, args[0])
				if err == nil {
					b.Close()
				}
				needs, ok := errors.AsType[*sandbox.NeedsFilesError](err)
				if !ok || !errors.Is(err, sandbox.ErrNeedsFiles) || len(needs.Folders) == 0 || needs.Static {
					t.Fatalf("Open: got %v, want a NeedsFilesError with folders", err)
				}
				for _, folder := range needs.Folders {
					policy.ReadOnly = append(policy.ReadOnly, sandbox.Bind{Source: folder})
				}
				w, err := startCmd(t, mustOpen(t, policy, args[0]), exec.Command(args[0], args[1:]...), spawner(t))
				if err != nil {
					t.Fatal(err)
				}
				if _, d := w.rest(); d.Code != 7 {
					t.Errorf("with %v: got %v, want exit code 7; stderr: %s", needs.Folders, d, w.stderr)
				}
			})
		}
	}
}

// A worker can execute only one program. So the host does the work of env(1) for a script, and refuses first lines that it cannot resolve.
func TestScriptsWhoseInterpreterIsNotPlain(t *testing.T) {
	for first, says := range map[string]string{
		"#!/usr/bin/env -i sh": "AllowFork", "#!/usr/bin/env -S A=1 sh": "AllowFork", "#!/usr/bin/env": "AllowFork", "#!/usr/bin/env no-such-shell": "AllowFork",
		"#!sh": "no absolute path",
	} {
		t.Run(first, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(path, []byte(first+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			b, err := sandbox.OpenWithout(sandbox.Policy{Level: sandbox.Strict}, path)
			if err == nil {
				b.Close()
			}
			if e, ok := errors.AsType[*sandbox.StageError](err); !ok || e.Stage != "plugin" || !strings.Contains(err.Error(), says) {
				t.Errorf("Open: got %v, want an error of the stage plugin with %q", err, says)
			}
		})
	}
}

func mustOpen(t *testing.T, policy sandbox.Policy, plugin string) *sandbox.Box {
	t.Helper()
	b, err := sandbox.Open(t.Context(), policy, plugin, "")
	if err != nil {
		t.Fatalf("Open: got the error %v", err)
	}
	t.Cleanup(b.Close)
	return b
}

// An error of the launcher reaches the host with its stage.
func TestConfirmNamesTheStage(t *testing.T) {
	b := policyBox(t, sandbox.Policy{Level: sandbox.Strict})
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(plugin, "exit", "0")
	cmd.Dir = "/nowhere"
	_, err = startCmd(t, b, cmd, spawner(t))
	e, isStage := errors.AsType[*sandbox.StageError](err)
	if !isStage || e.Stage != "folder" || !errors.Is(err, sandbox.ErrNotSupported) {
		t.Errorf("got %v, want the stage folder", err)
	}
}

// unconfirmed starts the plugin without calling Confirm.
func unconfirmed(t *testing.T) (*sandbox.Launch, *exec.Cmd) {
	t.Helper()
	b := policyBox(t, sandbox.Policy{Level: sandbox.Basic})
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(plugin, "wait")
	l, err := b.Wrap(cmd, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := spawner(t)(cmd.Start); err != nil {
		t.Fatal(err)
	}
	return l, cmd
}

func TestConfirmEndsWithItsContext(t *testing.T) {
	l, cmd := unconfirmed(t)
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := l.Confirm(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Confirm of a process that is stopped: got %v, want a deadline error", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestConfirmOfALauncherThatIsKilled(t *testing.T) {
	l, cmd := unconfirmed(t)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := l.Confirm(t.Context()); err == nil {
		t.Error("Confirm of a process that was killed: got no error")
	}
}

// doomedHost starts a worker at each level, prints their pids, and waits to be killed.
func doomedHost() error {
	plugin, err := hostile()
	if err != nil {
		return err
	}
	var pids []string
	for _, level := range []sandbox.Level{sandbox.Off, sandbox.Basic, sandbox.Strict} {
		if err := sandbox.Rehearsed(context.Background(), level); errors.Is(err, sandbox.ErrNotSupported) && os.Geteuid() != 0 {
			continue
		}
		b, err := sandbox.OpenWithout(sandbox.Policy{Level: level, OpenFiles: 100}, plugin)
		if err != nil {
			return err
		}
		r, _, err := os.Pipe()
		if err != nil {
			return err
		}
		cmd := exec.Command(plugin, "wait")
		cmd.ExtraFiles = []*os.File{r}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		l, err := b.Wrap(cmd, 0)
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		if err := l.Confirm(context.Background()); err != nil {
			return err
		}
		pids = append(pids, strconv.Itoa(cmd.Process.Pid))
	}
	if _, err := os.Stdout.WriteString(strings.Join(append(pids, "ready\n"), "\n")); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// No worker outlives a host that is killed, and the next host removes the folders and cgroups that it left.
func TestHostIsKilled(t *testing.T) {
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	temp := openDir(t)
	host := exec.Command("/proc/self/exe")
	host.Stderr = os.Stderr
	host.Env = append(os.Environ(), roleEnv+"=doomed", hostileEnv+"="+plugin, "TMPDIR="+temp)
	stdin, err := host.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	w := &worker{t: t, cmd: host, stderr: &strings.Builder{}, out: bufio.NewReader(out)}
	var pids []int
	for line := w.line(); line != "ready"; line = w.line() {
		pid, err := strconv.Atoi(line)
		if err != nil {
			_ = host.Process.Kill()
			t.Fatalf("the host says %q", line)
		}
		pids = append(pids, pid)
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Wait() }() // reaped late: a parent may not wait for a long time
	for _, pid := range pids {
		if ended, err := gone.Within(pid, 2*time.Second); !ended {
			t.Errorf("process %d lives 2 s after its host was killed (%v)", pid, err)
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	if err := sandbox.Rehearsed(t.Context(), sandbox.Basic); errors.Is(err, sandbox.ErrNotSupported) && os.Geteuid() != 0 {
		t.Skip(err) // only basic has a folder of sockets
	}
	left, _ := filepath.Glob(filepath.Join(temp, sandbox.BoxPrefix+"*"))
	if len(left) != 1 {
		t.Errorf("got the folders %v of a host that was killed, want that of level basic", left)
	}
	policyBox(t, sandbox.Policy{Level: sandbox.Basic, TempDir: temp})
	for _, left := range boxFolders(t, temp, host.Process.Pid) {
		// Folders on disk are removed in the background.
		if !within(10*time.Second, func() bool { _, err := os.Lstat(left); return errors.Is(err, fs.ErrNotExist) }) {
			t.Errorf("%s is left of a host that was killed", left)
		}
	}
}

// boxFolders returns the folders of a process's boxes: their cgroups, and their socket folders in temp.
func boxFolders(t *testing.T, temp string, pid int) (boxes []string) {
	t.Helper()
	parents, err := sandbox.CgroupFolders()
	if err != nil {
		t.Fatal(err)
	}
	patterns := []string{filepath.Join(temp, fmt.Sprintf("%s%d-*", sandbox.BoxPrefix, pid))}
	for _, parent := range parents {
		patterns = append(patterns, filepath.Join(parent, fmt.Sprintf("%s*-%x-*-*", sandbox.BoxPrefix, pid)))
	}
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern) // the pattern is well formed
		boxes = append(boxes, found...)
	}
	return boxes
}
