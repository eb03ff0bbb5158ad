package family_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/family"
)

// sleeper starts a process with the given environment. It is killed when the test ends.
func sleeper(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(env, sleeperEnv+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// alive reports whether a child is still running.
func alive(t *testing.T, cmd *exec.Cmd) bool {
	t.Helper()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	return info.Signo == 0
}

// end runs a search, and fails the test unless it has killed want processes.
func end(t *testing.T, s family.Search, want int) {
	t.Helper()
	s.Limit = 10 * time.Second
	if ended, err := s.End(); err != nil || ended != want {
		t.Errorf("End: got %d, %v, want %d", ended, err, want)
	}
}

func TestOneMarkIsEnough(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, n family.Name) *exec.Cmd{
		"variable": func(t *testing.T, n family.Name) *exec.Cmd { return sleeper(t, n.Variable(1)) },
		"limit": func(t *testing.T, n family.Name) *exec.Cmd {
			cmd := sleeper(t)
			n.Mark(cmd.Process.Pid, 1)
			return cmd
		},
	} {
		for _, after := range []string{"among all", "among the young"} {
			t.Run(name+", "+after, func(t *testing.T) {
				n := family.New()
				before := sleeper(t)
				member := start(t, n)
				s := family.Search{Name: n}
				if after == "among the young" {
					s.After = before.Process.Pid
				}
				end(t, s, 1)
				if alive(t, member) {
					t.Error("the member lives")
				}
				end(t, s, 0) // the process has not been reaped, but there is none left to kill
			})
		}
	}
}

// A mark is found anywhere in a large environment, also where one read ends and the next begins.
func TestAMarkIsFoundInALargeEnvironment(t *testing.T) {
	const piece = family.PieceBytes
	for _, before := range []int{piece - 60, piece - 40, piece - 20, piece, 3*piece - 30, 8*piece - 100} {
		n := family.New()
		cmd := sleeper(t, "PAD="+strings.Repeat("x", before-len("PAD=")-1), n.Variable(1), "LAST=1")
		end(t, family.Search{Name: n}, 1)
		if alive(t, cmd) {
			t.Errorf("a member with %d bytes before its mark lives", before)
		}
	}
}

func TestASearchKeepsItsLimit(t *testing.T) {
	n := family.New()
	_ = sleeper(t, n.Variable(1))
	if _, err := (family.Search{Name: n, Limit: time.Nanosecond}).End(); err == nil {
		t.Error("End within a nanosecond: got no error, want that not all processes have been looked at")
	}
}

// A host that is pid 1, as in a container, gets all orphans. A subreaper gets those of its descendants.
func TestOrphansAreReaped(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
	for name, ended := range map[string]int{"alive": 1, "dead": 0} {
		t.Run(name, func(t *testing.T) {
			n := family.New()
			cmd, stdin, stdout := shell(t, "sleep 600 >/dev/null & echo $!")
			n.Mark(cmd.Process.Pid, 1)
			_ = stdin.Close()
			var pid int
			if _, err := fmt.Fscan(stdout, &pid); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			var info unix.Siginfo
			if name == "dead" {
				if err := unix.Kill(pid, unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
				if err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
					t.Fatal(err)
				}
			}
			s := family.Search{Name: n, Reap: true}
			end(t, s, ended)
			if err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
				t.Errorf("the orphan is still in the kernel's table: got %v, want no child of that number", err)
			}
		})
	}
}

func TestOthersAreLeftAlone(t *testing.T) {
	n, other := family.New(), family.New()
	first, second := sleeper(t, n.Variable(1)), sleeper(t, n.Variable(2))
	n.Mark(first.Process.Pid, 1)
	n.Mark(second.Process.Pid, 2)
	stranger, cousin := sleeper(t), sleeper(t, other.Variable(1))
	other.Mark(cousin.Process.Pid, 1)
	end(t, family.Search{Name: n, Of: number(1)}, 1)
	if alive(t, first) {
		t.Error("the worker who is meant lives")
	}
	for name, cmd := range map[string]*exec.Cmd{"another worker of the pool": second, "a stranger": stranger, "another pool's worker": cousin} {
		if !alive(t, cmd) {
			t.Errorf("%s is dead", name)
		}
	}
	t.Setenv(family.Env, n.Variable(2)[len(family.Env)+1:]) // the searching process never kills itself
	end(t, family.Search{Name: n}, 1)
}

func TestWhoIsSparedIsLeftAlone(t *testing.T) {
	n := family.New()
	spared, other := sleeper(t, n.Variable(1)), sleeper(t, n.Variable(1))
	end(t, family.Search{Name: n, Spare: func(pid int) bool { return pid == spared.Process.Pid }}, 1)
	if alive(t, other) || !alive(t, spared) {
		t.Errorf("got the spared one alive %v, the other %v, want true, false", alive(t, spared), alive(t, other))
	}
}

// A worker of a host that is itself a worker belongs to both families.
func TestTheFirstLimitStays(t *testing.T) {
	outer, inner := family.New(), family.New()
	cmd := sleeper(t)
	outer.Mark(cmd.Process.Pid, 1)
	inner.Mark(cmd.Process.Pid, 1)
	end(t, family.Search{Name: inner}, 0)
	end(t, family.Search{Name: outer}, 1)
}

func TestAStoppedMemberEndsToo(t *testing.T) {
	n := family.New()
	cmd := sleeper(t, n.Variable(1))
	if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	end(t, family.Search{Name: n}, 1)
}

// BenchmarkSearch measures a search on a machine with other processes, none of which is a member.
func BenchmarkSearch(b *testing.B) {
	for name, after := range map[string]int{"all": 0, "young": os.Getpid()} {
		b.Run(name, func(b *testing.B) {
			s := family.Search{Name: family.New(), After: after, Limit: time.Second}
			for b.Loop() {
				if _, err := s.End(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
