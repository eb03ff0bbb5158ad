package gobuild

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/family"
)

// endLimit bounds the search for processes that a go command has left behind.
const endLimit = 5 * time.Second

// bounds limits and finds the processes that the go commands of one build start. These processes carry marks in their environment, as workers do.
type bounds struct {
	name  family.Name
	guard *family.Guard
}

func newBounds() *bounds { return &bounds{name: family.New()} }

// guarded starts a guard process. If the parent is killed, the guard kills the processes of the build and removes the given folder. A program that
// does not call sdk.ServeChild cannot have a guard.
func (b *bounds) guarded(folder string) error {
	if !family.Served.Load() {
		return nil
	}
	var err error
	b.guard, err = family.OpenGuard(b.name, folder)
	return err
}

// close stops the guard. If the build failed, close first kills the processes that the build may have left behind.
func (b *bounds) close(failed bool) {
	if failed {
		_, _ = family.Search{Name: b.name, Limit: endLimit}.End() // without /proc, killing the process group has to do
	}
	if b.guard != nil {
		b.guard.Close()
	}
}

// run runs a go command that compiles nothing. The kernel kills the command when the parent ends: the command may be blocked on a file of the
// folder that is not regular, such as a pipe, and then only SIGKILL ends it.
func (b *bounds) run(cmd *exec.Cmd) error {
	return b.start(cmd, &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL})
}

// runBuild runs a go command that compiles, in a process group of its own, which is killed as a whole. Such a command must not ask for a password,
// because the terminal belongs to another process group.
func (b *bounds) runBuild(cmd *exec.Cmd) error {
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	return b.start(cmd, &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true})
}

func (b *bounds) start(cmd *exec.Cmd, attr *syscall.SysProcAttr) error {
	cmd.Env = append(cmd.Env, b.name.Variable(0))
	cmd.SysProcAttr = attr
	// The kernel sends the death signal when the thread that started the process ends, not when the process does (prctl(2), PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return err
	}
	// Compilers inherit these limits from the go command. It starts none before it has read the folder, so each compiler has the limits.
	pid := cmd.Process.Pid
	b.name.Mark(pid, 0)
	for _, limit := range []struct {
		resource int
		most     uint64
	}{{unix.RLIMIT_DATA, maxMemoryBytes}, {unix.RLIMIT_FSIZE, maxFileBytes}} {
		if err := lower(pid, limit.resource, limit.most); err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return os.NewSyscallError("prlimit", err)
		}
	}
	return cmd.Wait()
}

// lower sets a resource limit of a process to most, unless the limit is lower already.
func lower(pid, resource int, most uint64) error {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &limit); err != nil {
		return ignoreGone(err)
	}
	limit.Cur, limit.Max = min(limit.Cur, most), min(limit.Max, most)
	return ignoreGone(unix.Prlimit(pid, resource, &limit, nil))
}

// ignoreGone returns nil if the process has already ended: Wait then returns a better error.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// parallel returns how many compilers may run at once, so that together they use no more than half of the machine's memory.
func parallel() int {
	var system unix.Sysinfo_t
	if unix.Sysinfo(&system) != nil {
		return runtime.NumCPU()
	}
	total := system.Totalram * uint64(system.Unit)
	return max(1, min(runtime.NumCPU(), int(total/2/maxMemoryBytes)))
}
