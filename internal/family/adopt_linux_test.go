package family_test

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/family"
)

// shell starts a shell that runs a script once its stdin is closed.
func shell(t *testing.T, script string) (cmd *exec.Cmd, stdin io.Closer, stdout io.Reader) {
	t.Helper()
	cmd = exec.Command("sh", "-c", "read go; "+script)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in, out
}

// started starts a shell and marks it. The returned function lets the shell run its script, and returns the number that the script prints.
func started(t *testing.T, script string, mark func(pid int)) (_ *exec.Cmd, goOn func() (said int)) {
	t.Helper()
	cmd, stdin, stdout := shell(t, script)
	mark(cmd.Process.Pid)
	return cmd, func() (said int) {
		_ = stdin.Close()
		if _, err := fmt.Fscan(stdout, &said); err != nil {
			t.Error(err)
		}
		if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Error(err)
		}
		return said
	}
}

// The program itself waits for its own children, whether they are members of the family or not. ReapOrphans must leave them alone.
func TestOrphansAloneAreReapedMeanwhile(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
	n, other := family.New(), family.New()
	stranger, strangerEnds := started(t, "echo 1; exit 41", func(int) {}) // the kernel reports it first, because it is the oldest
	cousin, cousinEnds := started(t, "echo 1; exit 42", func(pid int) { other.Mark(pid, 1) })
	worker, workerEnds := started(t, "(exit 0) >/dev/null & echo $!; exit 43", func(pid int) { n.Mark(pid, 1) })
	late, lateEnds := started(t, "(exit 0) >/dev/null & echo $!; exit 44", func(pid int) { n.Mark(pid, 2) })
	spare := func(pid int) bool { return pid == worker.Process.Pid || pid == late.Process.Pid }
	strangerEnds()
	cousinEnds()
	early := workerEnds()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		family.Search{Name: n, Spare: spare}.ReapOrphans(stop)
	}()
	waitReaped(t, "an orphan that was dead before", early)
	waitReaped(t, "one that came later", lateEnds())
	close(stop)
	<-stopped
	for want, cmd := range map[int]*exec.Cmd{41: stranger, 42: cousin, 43: worker, 44: late} {
		if _ = cmd.Wait(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			t.Errorf("a child that the program waits for: got %v, want exit code %d", cmd.ProcessState, want)
		}
	}
}

// waitReaped waits until a process is no longer a child of this one.
func waitReaped(t *testing.T, who string, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if errors.Is(err, unix.ECHILD) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is in the kernel's table after 20s (%v)", who, err)
		}
	}
}

// In a process to which the kernel gives no orphans, ReapOrphans returns at once.
func TestWhoAdoptsNobodyReapsNobody(t *testing.T) {
	if unix.Getpid() == 1 {
		t.Skip("this process is pid 1")
	}
	family.Search{Name: family.New()}.ReapOrphans(nil) // must not block
}

// Root in a container usually lacks CAP_SYS_RESOURCE, so prlimit(2) does not report the limits of other users' processes.
func TestALimitOfAnotherUsersProcessIsRead(t *testing.T) {
	if unix.Geteuid() != 0 {
		t.Skip("only root has processes of other users")
	}
	n := family.New()
	cmd, stdin, stdout := shell(t, "exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'echo 1; exec sleep 600'")
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	n.Mark(cmd.Process.Pid, 1) // while the process still runs as root, as launchers do
	_ = stdin.Close()
	if _, err := fmt.Fscan(stdout, new(int)); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // capabilities belong to a thread
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all [2]unix.CapUserData
	if err := unix.Capget(&header, &all[0]); err != nil {
		t.Fatal(err)
	}
	fewer := all
	fewer[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
	if err := unix.Capset(&header, &fewer[0]); err != nil {
		t.Fatal(err)
	}
	member := family.Search{Name: n}.Has(cmd.Process.Pid)
	if err := unix.Capset(&header, &all[0]); err != nil {
		t.Fatal(err) // the thread stays locked, and ends with the test
	}
	runtime.UnlockOSThread()
	if !member {
		t.Error("a marked process of another user is no member without CAP_SYS_RESOURCE")
	}
}
