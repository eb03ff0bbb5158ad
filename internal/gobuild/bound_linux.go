package gobuild

import (
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// runBound runs a go command that ends with this process. It may wait for a file of the folder that is none, such as a pipe, and no signal ends
// that wait but SIGKILL.
func runBound(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	// The kernel sends that signal when the thread ends which started the process (prctl(2), PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}

// runBuild is runBound for a go command that compiles, with all that it starts: a compiler may wait as well. Only a command that asks nobody for
// a password may run like that, because the terminal is another group's.
func runBuild(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}
