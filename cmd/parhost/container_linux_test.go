package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/refuse"
)

// circumstanceEnv makes the test binary execute its arguments in one of the circumstances.
const circumstanceEnv = "PARHOST_TEST_CIRCUMSTANCE"

// outsideServices are system calls that systemd's group @system-service does not contain, and that a program like parhost might use.
var outsideServices = []uintptr{
	unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_LANDLOCK_ADD_RULE, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.SYS_SECCOMP, unix.SYS_UNSHARE, unix.SYS_SETNS,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_MOUNT_SETATTR, unix.SYS_FSOPEN,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_USERFAULTFD, unix.SYS_QUOTACTL,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_FANOTIFY_INIT, unix.SYS_SYSLOG, unix.SYS_REBOOT, unix.SYS_PIDFD_GETFD,
}

var circumstances = map[string]func() error{
	"container": refuse.Container,
	"service":   func() error { return refuse.Kill(outsideServices) },
	// Like NFS without a lock daemon.
	"no locks": func() error { return refuse.Calls(map[uintptr]unix.Errno{unix.SYS_FLOCK: unix.ENOLCK}) },
	// Like file systems that cannot hold sockets.
	"no sockets": func() error { return refuse.Calls(map[uintptr]unix.Errno{unix.SYS_BIND: unix.EOPNOTSUPP}) },
}

func init() {
	confineIfAsked = func() {
		set, ok := circumstances[os.Getenv(circumstanceEnv)]
		if !ok {
			return
		}
		err := errors.Join(os.Unsetenv(circumstanceEnv), set())
		if err == nil {
			err = syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
}

// built builds a command like a release: statically linked, so that it can run in a sandbox.
func built(t *testing.T, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "parhost-plugin-built")
	build := exec.Command("go", "build", "-o", path, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o755) // workers may run as other users
	}
	return path
}

// in runs the command in a circumstance, as a process with attr.
func in(t *testing.T, circumstance string, attr *syscall.SysProcAttr, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, words bytes.Buffer
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), circumstanceEnv+"="+circumstance)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr, cmd.Dir = &out, &words, attr, t.TempDir()
	err = cmd.Run()
	if cmd.ProcessState == nil {
		t.Skipf("processes cannot be made so on this machine: %v", err)
	}
	if code = cmd.ProcessState.ExitCode(); code < 0 {
		t.Errorf("%q: %v", args, err)
	}
	return code, out.String(), words.String()
}

// In a container only level strict is refused. parhost doctor, a run and plugins list must agree on that.
func TestInAContainerAllCommandsTakeBasic(t *testing.T) {
	parhost, plugin := built(t, "."), built(t, "../../plugins/sqrt/parhost-plugin-sqrt")
	report, err := sandbox.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(report.Levels, func(l sandbox.Layer) bool { return l.Name == "level basic" && l.OK }) {
		t.Skip("this machine has no level basic")
	}
	for name, attr := range map[string]*syscall.SysProcAttr{
		"": nil,
		"as pid 1": {
			Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID, UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		},
	} {
		t.Run("container "+name, func(t *testing.T) {
			_, stdout, stderr := in(t, "container", attr, parhost, "doctor")
			if !strings.Contains(stdout, "auto takes basic") {
				t.Errorf("parhost doctor: want auto to take basic: %s%s", stdout, stderr)
			}
			for _, c := range []struct {
				args   []string
				code   int
				stdout string
				stderr string
			}{
				{[]string{"-p", "sqrt", "-o", "values", "4"}, exitOK, "2\n", ""},
				{[]string{"-p", "sqrt", "-o", "values", "--sandbox", "auto", "4"}, exitOK, "2\n", "in sandbox basic"},
				{[]string{"-p", "sqrt", "-o", "values", "--sandbox", "basic", "4"}, exitOK, "2\n", "in sandbox basic"},
				{[]string{"-p", "sqrt", "-o", "values", "--sandbox", "strict", "4"}, exitNoSandbox, "", "or use level basic"},
				{[]string{"plugins", "list", "--plugin-dir", filepath.Dir(plugin)}, exitOK, "built", ""},
				{[]string{"plugins", "describe", plugin}, exitOK, "sqrt", ""},
			} {
				code, stdout, stderr := in(t, "container", attr, append([]string{parhost}, c.args...)...)
				if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
					t.Errorf("parhost %q: got exit code %d, %q and %q, want %d, %q and %q", c.args, code, stdout, stderr, c.code, c.stdout, c.stderr)
				}
			}
		})
	}
}

// Some services kill a process that makes a system call outside of their list. There a run without a sandbox must work, and auto must choose level
// off.
func TestNothingIsCalledThatAServiceMayNot(t *testing.T) {
	parhost := built(t, ".")
	for _, args := range [][]string{
		{"-p", "sqrt", "-o", "values", "4"},
		{"-p", "sqrt", "-o", "values", "--memory", "1GiB", "4"},
		{"-p", "sqrt", "-o", "values", "--sandbox", "auto", "4"},
	} {
		if code, stdout, stderr := in(t, "service", nil, append([]string{parhost}, args...)...); code != exitOK || stdout != "2\n" {
			t.Errorf("parhost %q: got exit code %d, %q and %q, want %d and the result", args, code, stdout, stderr, exitOK)
		}
	}
	for key, value := range goEnv() {
		t.Setenv(key, value)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	folder, err := filepath.Abs("../../plugins/sqrt/parhost-plugin-sqrt")
	if err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := in(t, "service", nil, parhost, "-p", folder, "-o", "values", "4"); code != exitOK || stdout != "2\n" {
		t.Errorf("a Go package folder: got exit code %d, %q and %q, want %d and the result", code, stdout, stderr, exitOK)
	}
	if code, _, stderr := in(t, "service", nil, parhost, "-p", folder, "--cgo", "4"); code != exitNoWorker || !strings.Contains(stderr, "hint: if you trust the folder") {
		t.Errorf("a Go package folder, --cgo: got exit code %d and %q, want %d and a hint", code, stderr, exitNoWorker)
	}
	if code, _, stderr := in(t, "service", nil, parhost, "-p", "sqrt", "--sandbox", "basic", "4"); code != exitNoSandbox || !strings.Contains(stderr, "hint: ") {
		t.Errorf("--sandbox basic: got exit code %d and %q, want %d and a hint", code, stderr, exitNoSandbox)
	}
	if _, stdout, stderr := in(t, "service", nil, parhost, "doctor"); !strings.Contains(stdout, "auto takes off") {
		t.Errorf("parhost doctor: want auto to take off: %s%s", stdout, stderr)
	}
}

// A pool's folder for sockets works even if it cannot be locked.
func TestWithoutLocksARunGoesOn(t *testing.T) {
	if code, stdout, stderr := in(t, "no locks", nil, built(t, "."), "-p", "sqrt", "-o", "values", "4"); code != exitOK || stdout != "2\n" {
		t.Errorf("got exit code %d, %q and %q, want %d and the result", code, stdout, stderr, exitOK)
	}
}

// If a worker cannot create its socket, it says why, and the command quotes the reason.
func TestAWorkerThatCannotListenSaysWhy(t *testing.T) {
	code, _, stderr := in(t, "no sockets", nil, built(t, "."), "-p", "sqrt", "4")
	if code != exitNoWorker || !strings.Contains(stderr, "exit code 1 before it wrote a handshake line") || !strings.Contains(stderr, "bind: operation not supported") ||
		strings.Contains(stderr, "is it a parhost plugin?") {
		t.Errorf("got exit code %d and %q, want %d and the error of bind", code, stderr, exitNoWorker)
	}
}
