package sandbox_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/windows"

	"github.com/parhost/parhost/host/sandbox"
)

// roleEnv is the variable that makes a copy of the test binary act as one of roles.
const roleEnv = "SANDBOX_TEST_ROLE"

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleEnv)]; ok {
		if err := role(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// onWine reports whether the tests run on Wine, which supports less than Windows.
func onWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// worker is a copy of the test binary in a box.
type worker struct {
	t      *testing.T
	cmd    *exec.Cmd
	launch *sandbox.Launch
	out    *bufio.Reader
	stderr strings.Builder
}

// policyBox opens a box for the duration of the test without a rehearsal, so its walls may not hold.
func policyBox(t *testing.T, policy sandbox.Policy) *sandbox.Box {
	t.Helper()
	b, err := sandbox.OpenUnrehearsed(policy)
	if err != nil {
		t.Fatalf("open %+v: got the error %v", policy, err)
	}
	t.Cleanup(b.Close)
	return b
}

// start starts a role in a box. On Wine it skips the test if Wine does not support a limit.
func start(t *testing.T, policy sandbox.Policy, role string) *worker {
	t.Helper()
	w := &worker{t: t, cmd: self(role)}
	var err error
	if w.launch, err = policyBox(t, policy).Wrap(w.cmd, 1); err != nil {
		if onWine() {
			t.Skipf("not on Wine: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(w.launch.Close)
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.out, w.cmd.Stderr = bufio.NewReader(stdout), &w.stderr
	if err := w.launch.StartError(w.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.launch.Kill()
		_ = w.cmd.Wait()
	})
	if err := w.launch.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// self returns the command of a copy of the test binary that acts as a role.
func self(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{roleEnv + "=" + role, "GOTRACEBACK=none", "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func (w *worker) line() string {
	w.t.Helper()
	s, err := w.out.ReadString('\n')
	if err != nil {
		w.launch.Kill()
		_ = w.cmd.Wait()
		w.t.Fatalf("got %v, want a line; stderr: %s", err, w.stderr.String())
	}
	return strings.TrimSpace(s)
}

// end waits until the process ends and returns its death.
func (w *worker) end() sandbox.Death {
	w.t.Helper()
	_, _ = io.Copy(io.Discard, w.out)
	_ = w.cmd.Wait()
	return w.launch.Death(w.cmd.ProcessState, false)
}

func say(words ...any) { _, _ = fmt.Fprintln(os.Stdout, words...) }

// handleOf opens a process that must still exist.
func handleOf(t *testing.T, pid string) windows.Handle {
	t.Helper()
	n, err := strconv.ParseUint(pid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	h, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(n))
	if err != nil {
		t.Fatalf("process %s: got the error %v, want it to be there", pid, err)
	}
	t.Cleanup(func() { _ = windows.CloseHandle(h) })
	return h
}

// checkEnds waits until a process has ended.
func checkEnds(t *testing.T, what string, h windows.Handle) {
	t.Helper()
	if event, err := windows.WaitForSingleObject(h, 10_000); event != windows.WAIT_OBJECT_0 {
		t.Errorf("%s: got %#x and %v after 10 s, want its end", what, event, err)
	}
}

// roles are the functions that copies of the test binary run.
var roles = map[string]func() error{
	"idle": func() error {
		say(os.Getpid())
		select {}
	},
	"parent": func() error { // starts a process that outlives it
		child := self("idle")
		out, err := child.StdoutPipe()
		if err != nil {
			return err
		}
		if err := child.Start(); err != nil {
			return err
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			return err
		}
		say(strings.TrimSpace(line))
		select {}
	},
	"host": func() error {
		b, err := sandbox.Open(context.Background(), sandbox.Policy{}, os.Args[0], "")
		if err != nil {
			return err
		}
		cmd := self("parent")
		l, err := b.Wrap(cmd, 1)
		if err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		if err := l.Confirm(context.Background()); err != nil {
			return err
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			return err
		}
		say(cmd.Process.Pid, strings.TrimSpace(line))
		select {}
	},
	"job": func() error { // prints whether the process is in a job when it begins
		var in uint32
		isProcessInJob := windows.NewLazySystemDLL("kernel32.dll").NewProc("IsProcessInJob")
		if ok, _, err := isProcessInJob.Call(uintptr(windows.CurrentProcess()), 0, uintptr(unsafe.Pointer(&in))); ok == 0 {
			return err
		}
		say(in != 0)
		return nil
	},
	"forks": func() error {
		n := 0
		for ; n < 20; n++ {
			if err := self("idle").Start(); err != nil {
				break
			}
		}
		say(n)
		return nil
	},
	"hoard": func() error {
		var all [][]byte
		for len(all) < 256 {
			block := make([]byte, 1<<20)
			for i := range block {
				block[i] = byte(i)
			}
			all = append(all, block)
		}
		say("has", len(all))
		return nil
	},
	"spin": func() error {
		for begun := time.Now(); time.Since(begun) < 2*time.Second; {
		}
		var made, ended, kernel, user windows.Filetime
		if err := windows.GetProcessTimes(windows.CurrentProcess(), &made, &ended, &kernel, &user); err != nil {
			return err
		}
		say(time.Duration(user.Nanoseconds() + kernel.Nanoseconds()).Seconds())
		return nil
	},
	"token": func() error {
		t := windows.GetCurrentProcessToken()
		restricted, err := t.IsRestricted()
		say("restricted", restricted, err)
		var label struct {
			windows.Tokenmandatorylabel
			sid [64]byte
		}
		var n uint32
		if err := windows.GetTokenInformation(t, windows.TokenIntegrityLevel, (*byte)(unsafe.Pointer(&label)), uint32(unsafe.Sizeof(label)), &n); err != nil {
			return err
		}
		say("integrity", label.Label.Sid)
		say("environment", os.Getenv("GOMEMLIMIT"), os.Getenv("GOMAXPROCS"))
		return nil
	},
}
