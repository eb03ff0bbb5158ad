package family_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/family"
)

// chainEnv makes the test binary the first process of a chain.
const chainEnv = "PARHOST_TEST_CHAIN"

func init() {
	if os.Getenv(chainEnv) != "" {
		beChain()
	}
}

// links is the number of processes in a chain that nobody kills. It lasts some seconds, and longer on a busy machine.
const links = 20_000

// beChain starts a process that starts the next one, and so on; each ends at once. It uses raw system calls, because between the two system calls
// of a process Go's scheduler must not run.
func beChain() {
	_, _ = os.Stdout.WriteString("here\n")
	for range links {
		child, _, _ := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if child != 0 {
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
}

// chain starts a chain, and returns when its first process has begun. The returned function reports whether the chain still runs, by a pipe that
// its last process holds.
func chain(t *testing.T, env ...string) (goesOn func(wait time.Duration) bool) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	cmd := exec.Command(exe)
	cmd.Env = append(env, chainEnv+"=1")
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := r.Read(make([]byte, len("here\n"))); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return func(wait time.Duration) bool {
		if err := r.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		_, err := r.Read(make([]byte, 1))
		return os.IsTimeout(err)
	}
}

// While processes of a chain start and end, a pass may meet none of them. The search must go on until it has killed one in time.
func TestAChainOfProcessesEnds(t *testing.T) {
	for name, young := range map[string]bool{"among all": false, "among the young": true} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				n := family.New()
				s := family.Search{Name: n, Limit: 20 * time.Second}
				if young {
					s.After = os.Getpid()
				}
				goesOn := chain(t, n.Variable(1))
				if _, err := s.End(); err != nil {
					t.Errorf("End: got %v, want no error", err)
				}
				if goesOn(100 * time.Millisecond) {
					for goesOn(time.Minute) { // so that the chain does not outlive the test
						continue
					}
					t.Fatal("the chain went on")
				}
			}
		})
	}
}

// A search that gives up before the chain ends returns an error.
func TestASearchThatGivesUpSaysSo(t *testing.T) {
	n := family.New()
	cmd := sleeper(t, n.Variable(1))
	_, err := family.Search{Name: n, Limit: 50 * time.Millisecond, Spare: func(pid int) bool {
		time.Sleep(60 * time.Millisecond) // the time limit has passed when the search has met its first process
		return pid != cmd.Process.Pid
	}}.End()
	if err == nil || !strings.Contains(err.Error(), "after 50ms") {
		t.Errorf("End: got %v, want an error with the limit", err)
	}
}
