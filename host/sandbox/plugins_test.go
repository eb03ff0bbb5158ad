//go:build linux

package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/conform"
	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// serving starts a plugin as a worker, with everything that a host gives it.
func serving(ctx context.Context, t *testing.T, b *sandbox.Box, path string, spawn func(func() error) error) (*conform.Worker, error) {
	const limit = wire.DefaultMaxItemBytes + wire.MessageSlack
	memory, shared, err := arena.New(4 << 20)
	if err != nil {
		return nil, err
	}
	defer shared.Close()
	t.Cleanup(func() { memory.Close() })
	own, in, out, err := link.New(limit)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path)
	cmd.Env = []string{
		wire.Handshake.MagicCookieKey + "=" + wire.Handshake.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=1",
		"PATH=" + os.Getenv("PATH"), "PYTHONPATH=" + os.Getenv("PYTHONPATH"), wire.EnvWorkload + "=", wire.EnvAlive + "=3", wire.EnvArena + "=4", wire.EnvLink + "=5,6",
		"PLUGIN_UNIX_SOCKET_DIR=" + t.TempDir(),
	}
	cmd.ExtraFiles = []*os.File{shared, in, out}
	w, err := startCmd(t, b, cmd, spawn)
	if err = errors.Join(err, in.Close(), out.Close()); err != nil {
		return nil, err
	}
	fields := strings.Split(w.line(), "|")
	if len(fields) < 5 || filepath.Dir(fields[3]) != w.launch.Sockets() {
		return nil, fmt.Errorf("handshake %q, want a socket in %q", fields, w.launch.Sockets())
	}
	c, err := grpc.NewClient("passthrough:///plugin", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(limit)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return w.launch.Dial(ctx, filepath.Base(fields[3]))
		}))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return &conform.Worker{
		Service: workerpb.NewWorkerServiceClient(c), Link: own, Gone: w.ended, Kill: w.bury,
		Death: func() string { return fmt.Sprintf("%v; stderr: %s", w.cmd.ProcessState, w.stderr) },
	}, ctx.Err()
}

// conforms checks all promises of the protocol on a plugin in a box.
func conforms(t *testing.T, policy sandbox.Policy, path string) {
	t.Helper()
	b, err := sandbox.Open(t.Context(), policy, path, "")
	if err != nil {
		t.Fatalf("Open: got the error %v", err)
	}
	t.Cleanup(b.Close)
	spawn := spawner(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := conform.Run(ctx, func(ctx context.Context) (*conform.Worker, error) { return serving(ctx, t, b, path, spawn) }, 0)
	if err != nil {
		t.Fatalf("got the error %v", err)
	}
	for _, c := range r.Checks {
		if c.Status != conform.OK && c.Status != conform.Skipped {
			t.Errorf("%+v", c)
		}
	}
	if len(r.Checks) == 0 {
		t.Error("nothing has been checked")
	}
}

// The workloads of this module keep all promises in a box: the box forbids nothing that they and Go's runtime need.
func TestPlugins(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"sqrt", "reduce", "sleep"} {
		path := filepath.Join(dir, name)
		if err := build(path, "../../plugins/"+name+"/parhost-plugin-"+name, "CGO_ENABLED=0"); err != nil {
			t.Fatal(err)
		}
		levels(t, func(t *testing.T, level sandbox.Level) {
			policy := sandbox.Policy{Level: level, MemoryBytes: 512 << 20, PIDs: 64}
			if os.Geteuid() != 0 && level < sandbox.Strict { // without a cgroup, strict alone can count the processes of a worker
				policy.PIDs = 0
			}
			conforms(t, policy, path)
		})
	}
}

// libraries returns binds for the folders with this machine's libraries.
func libraries() []sandbox.Bind {
	var binds []sandbox.Bind
	for _, dir := range []string{"/lib", "/lib64", "/usr"} {
		if _, err := os.Stat(dir); err == nil {
			binds = append(binds, sandbox.Bind{Source: dir})
		}
	}
	return binds
}

// A dynamically linked plugin runs unchanged.
func TestPluginsThatAreDynamic(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("%v: %v", sandbox.ErrNotSupported, err)
	}
	path := filepath.Join(t.TempDir(), "sqrt")
	// The race detector is written in C++ and needs its libraries.
	cmd := exec.Command("go", "build", "-race", "-o", path, "../../plugins/sqrt/parhost-plugin-sqrt")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build -race: %v\n%s", err, out)
	}
	levels(t, func(t *testing.T, level sandbox.Level) {
		conforms(t, sandbox.Policy{Level: level}, path)
	})
}

// runsScript runs a script in a private root with this machine's programs and the given folders, and returns its output.
func runsScript(t *testing.T, text string, folders ...string) string {
	t.Helper()
	path := filepath.Join(openDir(t), "script")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	policy := sandbox.Policy{Level: sandbox.Strict, AllowFork: true, ReadOnly: append(libraries(), sandbox.Bind{Source: "/bin"})}
	for _, folder := range append(folders, filepath.Dir(path)) {
		policy.ReadOnly = append(policy.ReadOnly, sandbox.Bind{Source: folder})
	}
	w, err := startCmd(t, mustOpen(t, policy, path), exec.Command(path), spawner(t))
	if err != nil {
		t.Fatal(err)
	}
	out, d := w.rest()
	if d.Code != 0 {
		t.Errorf("got %q and %v, want success; stderr: %s", out, d, w.stderr)
	}
	return out
}

// Programs that copy files do not fail although the filter refuses calls for extended attributes.
func TestPluginsThatCopyFiles(t *testing.T) {
	for _, tool := range []string{"cat", "cp", "install", "mv", "sed"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v: %v", sandbox.ErrNotSupported, err)
		}
	}
	const script = `#!/bin/sh
set -e
cd /tmp
echo a >a
sed -i s/a/b/ a
cp -a a b
cp -p b c
install -m 600 c d
mv d e
cat e
`
	if got := runsScript(t, script); got != "b\n" {
		t.Errorf("got %q, want what was written", got)
	}
}

// A program finds the libraries beside it in a private root without /proc. The loader asks /proc for the program's folder where it exists.
func TestPluginsBesideTheirLibraries(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("%v: %v", sandbox.ErrNotSupported, err)
	}
	dir := openDir(t)
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	library := write("lib/answer.c", "int answer(void) { return 42; }\n")
	program := write("bin/main.c", "#include <stdio.h>\nint answer(void);\nint main(void) { printf(\"%d\\n\", answer()); return 0; }\n")
	for _, args := range [][]string{
		{"-shared", "-fPIC", "-o", dir + "/lib/libanswer.so", library},
		{"-o", dir + "/bin/main", program, "-L" + dir + "/lib", "-lanswer", "-Wl,-rpath,$ORIGIN/../lib"},
	} {
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			t.Fatalf("gcc %s: %v\n%s", args, err, out)
		}
	}
	if got := runsScript(t, "#!"+dir+"/bin/main\n", dir); got != "42\n" {
		t.Errorf("got %q, want 42", got)
	}
}

// A plugin in Python runs if it can find its interpreter, its modules, and its own file.
func TestPluginsInPython(t *testing.T) {
	// Only the modules come from a virtual environment, because its interpreter is a link to the real one.
	out, err := exec.Command("python3", "-c", `import grpc, google.protobuf, sys, os
print(os.path.realpath(sys.base_prefix))
print(os.path.realpath(sys.executable))
print(os.pathsep.join(os.path.realpath(p) for p in sys.path if p.endswith("-packages")))`).CombinedOutput()
	facts := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(facts) != 3 {
		t.Skipf("%v: python3 with grpcio: %s", sandbox.ErrNotSupported, out)
	}
	prefix, python := facts[0], facts[1]
	t.Setenv("PYTHONPATH", strings.Trim(os.Getenv("PYTHONPATH")+string(filepath.ListSeparator)+facts[2], string(filepath.ListSeparator)))
	dir, err := filepath.Abs("../../examples/python")
	if err != nil {
		t.Fatal(err)
	}
	// The script names the interpreter's own path: /usr/bin/env would look for it in folders that are not shown.
	copied := openDir(t)
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(dir, "sqrt.py"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(source), "\n")
	script := filepath.Join(copied, "sqrt.py")
	if err := errors.Join(os.Chmod(script, 0o755), os.WriteFile(script, []byte("#!"+python+"\n"+rest), 0o755)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat("/root"); err == nil && strings.HasPrefix(prefix, "/root/") && info.Mode()&1 == 0 {
		t.Skipf("%v: only root finds python3 in %s", sandbox.ErrNotSupported, prefix)
	}
	needed := append(libraries(), sandbox.Bind{Source: copied})
	for _, dir := range append(filepath.SplitList(os.Getenv("PYTHONPATH")), prefix) {
		if !strings.HasPrefix(dir, "/usr") { // /usr is in libraries
			needed = append(needed, sandbox.Bind{Source: dir})
		}
	}
	levels(t, func(t *testing.T, level sandbox.Level) {
		policy := sandbox.Policy{Level: level}
		if level > sandbox.Off {
			policy.ReadOnly = needed
		}
		conforms(t, policy, script)
	})
}
