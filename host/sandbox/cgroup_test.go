//go:build linux

package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/protocol"
)

// cgroup2 makes a version 2 cgroup for a separate host, in which all controllers for limits are enabled.
func cgroup2(t *testing.T) string {
	t.Helper()
	var parent string
	for _, c := range []string{"memory", "pids", "cpu"} {
		var err error
		parent, err = sandbox.CgroupVersion2(c)
		if errors.Is(err, sandbox.ErrNotSupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	folder := filepath.Join(parent, fmt.Sprintf("parhost-test-%d", os.Getpid()))
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, _ := filepath.Glob(filepath.Join(folder, sandbox.BoxPrefix+"*")); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
		for _, f := range []string{filepath.Join(folder, "parhost-host"), folder} {
			sandbox.RemoveCgroup(f) // waits for processes that are ending
			if _, err := os.Stat(f); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s cannot be removed (%v)", f, err)
			}
		}
	})
	return folder
}

// runIn runs a copy of the test binary as a host in a cgroup.
func runIn(t *testing.T, folder string, extra ...string) (string, error) {
	t.Helper()
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	place, err := os.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	host := exec.Command("/proc/self/exe")
	host.Env = append(append(os.Environ(), roleEnv+"=finished", hostileEnv+"="+plugin), extra...)
	host.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(place.Fd())}
	out, err := host.CombinedOutput()
	return string(out), err
}

// finishedHost starts a process, and then opens two boxes with limits. It checks that the limits hold and prints the cgroups of itself and of that
// process.
func finishedHost() error {
	plugin, err := hostile()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	earlier := exec.Command(plugin, "wait")
	earlier.ExtraFiles = []*os.File{r}
	earlier.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := earlier.Start(); err != nil {
		return err
	}
	for range 2 {
		b, err := sandbox.OpenWithout(sandbox.Policy{MemoryBytes: 64 << 20, CPUs: 1, PIDs: 40}, plugin)
		if err != nil {
			return err
		}
		defer b.Close()
		cmd := exec.Command(plugin, "memory", "200")
		cmd.Env = []string{"GOMEMLIMIT=off"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		l, err := b.Wrap(cmd, 0)
		if err != nil {
			return err
		}
		defer l.Close()
		if err := cmd.Start(); err != nil {
			return err
		}
		if err := l.Confirm(context.Background()); err != nil {
			return err
		}
		_ = cmd.Wait() // Death is checked next
		if d := l.Death(cmd.ProcessState, false); d.Cause != protocol.CauseOutOfMemory {
			return fmt.Errorf("200 MiB of 64: got %v, want out_of_memory", d)
		}
	}
	for _, pid := range []int{os.Getpid(), earlier.Process.Pid} {
		place, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(place); err != nil {
			return err
		}
	}
	return errors.Join(earlier.Process.Kill(), w.Close())
}

// A version 2 cgroup either holds processes or passes on controllers. So a host moves itself, and all that it has started, out of the way of its
// workers, once.
func TestAHostMakesWayForItsWorkers(t *testing.T) {
	folder := cgroup2(t)
	out, err := runIn(t, folder)
	if err != nil {
		t.Fatalf("got %v: %s", err, out)
	}
	want := "/" + filepath.Base(folder) + "/parhost-host\n"
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "0::") && !strings.HasSuffix(line, want) {
			t.Errorf("a process of the host is in %q, want %q", line, want)
		}
	}
	if strings.Count(out, "0::") != 2 {
		t.Errorf("got %q, want the places of two processes", out)
	}
}

// A host does not move processes of others. Its error says what to do.
func TestAHostDoesNotMoveOthers(t *testing.T) {
	folder := cgroup2(t)
	place, err := os.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	r, until, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer until.Close()
	other := exec.Command(plugin, "wait")
	other.ExtraFiles = []*os.File{r}
	other.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(place.Fd()), Pdeathsig: syscall.SIGKILL}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := runIn(t, folder)
	if err == nil || !strings.Contains(said, "not of this host") || !strings.Contains(said, unix.EBUSY.Error()) || !strings.Contains(said, "systemd-run") {
		t.Errorf("a host beside another process: got %v and %q, want an error that says so and what to do", err, said)
	}
	if err := errors.Join(r.Close(), other.Process.Kill()); err != nil {
		t.Error(err)
	}
	_ = other.Wait() // the error says that it was killed
}
