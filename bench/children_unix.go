//go:build unix

package main

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const exeSuffix = ""

// ownGroup starts cmd in its own process group. The end of cmd's context then kills the whole group, so that no child of cmd remains.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
}

// peakRSS returns the largest resident set size, in bytes, of the process and of the children that it waited for. It returns 0 if unknown.
func peakRSS(state *os.ProcessState) int64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	switch {
	case !ok:
		return 0
	case runtime.GOOS == "darwin":
		return usage.Maxrss // bytes on macOS, according to its getrusage(2); kilobytes elsewhere
	default:
		return usage.Maxrss * 1024
	}
}
