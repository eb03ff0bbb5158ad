//go:build linux

package sandbox_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/attempt"
)

// Variables for a host that may have few processes.
const (
	levelEnv  = "SANDBOX_TEST_LEVEL"
	ulimitEnv = "SANDBOX_TEST_ULIMIT" // how many threads the user may have in addition to the existing ones
)

// The process limit of that host, and how many threads each of its four workers tries to start.
const (
	fewPIDs      = 300
	crowdWorkers = 4
	crowdThreads = 58 // nearly the whole limit, together with the threads of their runtimes
)

// crowdedHost starts workers that start as many threads as they can. Then the host starts threads itself.
func crowdedHost() error {
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil { // wait until the test has moved this process into its cgroup
		return err
	}
	if more, err := strconv.Atoi(os.Getenv(ulimitEnv)); err == nil {
		most := uint64(sandbox.ThreadsOf(os.Getuid()) + int64(more))
		if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return err
		}
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format, args...) } // the test notices missing output
	plugin, err := hostile()
	if err != nil {
		return err
	}
	policy := sandbox.Policy{Workers: crowdWorkers}
	if err := policy.Level.UnmarshalText([]byte(os.Getenv(levelEnv))); err != nil {
		return err
	}
	asked := policy
	asked.PIDs = 5000
	b, err := sandbox.OpenWithout(asked, plugin)
	if err == nil {
		b.Close()
	}
	say("asked for %d: %v\n", asked.PIDs, err)
	if b, err = sandbox.OpenWithout(policy, plugin); err != nil {
		return err
	}
	defer b.Close()
	say("may have %d\n", b.PIDs())
	runtime.LockOSThread() // workers are killed when this thread ends
	for slot := range crowdWorkers {
		r, _, err := os.Pipe() // the other end stays open until the process ends
		if err != nil {
			return err
		}
		cmd := exec.Command(plugin, "crowd", strconv.Itoa(crowdThreads))
		cmd.ExtraFiles = []*os.File{r}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		l, err := b.Wrap(cmd, slot)
		if err != nil {
			return err
		}
		defer l.Close()
		if err := cmd.Start(); err != nil {
			return err
		}
		defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
		if err := l.Confirm(context.Background()); err != nil {
			return err
		}
		said, _ := bufio.NewReader(out).ReadString('\n')
		say("worker %d: %q\n", slot, strings.TrimSpace(said))
	}
	attempt.Threads(60)
	say("the host lives\n")
	return nil
}

// Workers that start as many threads as they can leave some to their host.
func TestWorkersLeaveTheirHostThreads(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a cgroup for it, and users of whom nothing else is counted")
	}
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	const somebody = 61234
	for name, c := range map[string]struct {
		uid    int
		level  sandbox.Level
		cgroup bool // a cgroup limits the host; otherwise its user's limit does
	}{
		"root, basic, in a cgroup":     {0, sandbox.Basic, true},
		"root, strict, in a cgroup":    {0, sandbox.Strict, true},
		"a user, strict, in a cgroup":  {somebody, sandbox.Strict, true},
		"a user, strict, with a limit": {somebody, sandbox.Strict, false},
		"a user, basic, with a limit":  {somebody, sandbox.Basic, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := sandbox.Rehearsed(t.Context(), c.level); err != nil {
				t.Fatal(err)
			}
			if c.uid != 0 && c.level == sandbox.Basic && attempt.LandlockABI() == 0 {
				t.Skipf("the kernel has no Landlock: %v", sandbox.ErrNotSupported)
			}
			host := exec.Command("/proc/self/exe")
			host.Dir = "/"
			host.Env = []string{roleEnv + "=crowded", hostileEnv + "=" + plugin, levelEnv + "=" + c.level.String()}
			if !c.cgroup {
				host.Env = append(host.Env, fmt.Sprintf("%s=%d", ulimitEnv, fewPIDs))
			}
			host.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.uid)}}
			in, err := host.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			host.Stdout, host.Stderr = &said, &said
			if err := spawner(t)(host.Start); err != nil {
				t.Fatal(err)
			}
			if c.cgroup {
				enterFew(t, host.Process.Pid)
			}
			if _, err := io.WriteString(in, "\n"); err != nil {
				t.Error(err)
			}
			err = host.Wait()
			if err != nil || !strings.Contains(said.String(), "the host lives") {
				t.Errorf("got %v, want a host that lives; it said:\n%s", err, said.String())
			}
			if !strings.Contains(said.String(), "asked for 5000: sandbox level") || !strings.Contains(said.String(), "limit of 5000 processes") && !strings.Contains(said.String(), "Policy.PIDs is 5000") {
				t.Errorf("got no error that names the limit of 5000 that cannot be had; it said:\n%s", said.String())
			}
			t.Log(said.String())
		})
	}
}

// enterFew moves a process into a new cgroup that allows few processes.
func enterFew(t *testing.T, pid int) {
	t.Helper()
	parent, err := sandbox.CgroupOf("pids")
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(parent, fmt.Sprintf("parhost-few-%d", pid))
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range []string{filepath.Join(folder, "parhost-host"), folder} {
			sandbox.RemoveCgroup(f)
		}
		if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s cannot be removed (%v)", folder, err)
		}
	})
	for file, text := range map[string]string{"pids.max": strconv.Itoa(fewPIDs), "cgroup.procs": strconv.Itoa(pid)} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
}
