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

// endLimit is how long it may take to find what a go command has left behind.
const endLimit = 5 * time.Second

// bounds limit and find the processes that the go commands of one build start. These carry marks, like the processes that workers start.
type bounds struct {
	name  family.Name
	guard *family.Guard
}

func newBounds() *bounds { return &bounds{name: family.New()} }

// guarded starts a guard process. If this process is killed, the guard kills what the build has started and removes a folder. A program that does not
// call sdk.ServeChild cannot have a guard.
func (b *bounds) guarded(folder string) error {
	if !family.Served.Load() {
		return nil
	}
	var err error
	b.guard, err = family.OpenGuard(b.name, folder)
	return err
}

// close ends what the build may have left behind, and the guard.
func (b *bounds) close(failed bool) {
	if failed {
		_, _ = family.Search{Name: b.name, Limit: endLimit}.End() // without /proc there is the group that was killed
	}
	if b.guard != nil {
		b.guard.Close()
	}
}

// run runs a go command that compiles nothing. It ends with this process: it may wait for a file of the folder that is none, such as a pipe, and no
// signal ends that wait but SIGKILL.
func (b *bounds) run(cmd *exec.Cmd) error {
	return b.start(cmd, &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL})
}

// runBuild runs a go command that compiles, in a process group of its own, which is killed as a whole. Only a command that asks nobody for a
// password may run like that, because the terminal is another group's.
func (b *bounds) runBuild(cmd *exec.Cmd) error {
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	return b.start(cmd, &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true})
}

func (b *bounds) start(cmd *exec.Cmd, attr *syscall.SysProcAttr) error {
	cmd.Env = append(cmd.Env, b.name.Variable(0))
	cmd.SysProcAttr = attr
	// The kernel sends the death signal when the thread ends which started the process (prctl(2), PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return err
	}
	// The go command inherits these to each compiler. It starts none before it has read the folder, so that none is without.
	pid := cmd.Process.Pid
	b.name.Mark(pid, 0)
	for _, limit := range []struct {
		resource int
		most     uint64
	}{{unix.RLIMIT_DATA, mostMemoryBytes}, {unix.RLIMIT_FSIZE, mostFileBytes}} {
		if err := lower(pid, limit.resource, limit.most); err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return os.NewSyscallError("prlimit", err)
		}
	}
	return cmd.Wait()
}

// lower sets a limit of a process that has a higher one or none.
func lower(pid, resource int, most uint64) error {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &limit); err != nil {
		return ignoreGone(err)
	}
	limit.Cur, limit.Max = min(limit.Cur, most), min(limit.Max, most)
	return ignoreGone(unix.Prlimit(pid, resource, &limit, nil))
}

// ignoreGone returns nil if a process has ended already, which Wait says better.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// parallel is how many compilers may run at once, so that all together may not take more than half of the machine's memory.
func parallel() int {
	var system unix.Sysinfo_t
	if unix.Sysinfo(&system) != nil {
		return runtime.NumCPU()
	}
	total := system.Totalram * uint64(system.Unit)
	return max(1, min(runtime.NumCPU(), int(total/2/mostMemoryBytes)))
}
