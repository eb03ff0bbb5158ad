//go:build unix

package child

import (
	"math"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// UsesTCP says whether go-plugin listens on loopback on this system.
const UsesTCP = false

// canInherit says whether a process can inherit files beside the standard ones.
const canInherit = true

// killGroup kills the process and the processes of its group, which are those that it has started and that have not left it.
func killGroup(p *os.Process) {
	_ = unix.Kill(-p.Pid, unix.SIGKILL)
	_ = p.Kill()
}

// AskForStacks makes a Go process write its stacks to stderr and exit.
func (p *Process) AskForStacks() { _ = p.cmd.Process.Signal(unix.SIGQUIT) }

// signalOf returns the name of the signal that ended a process, and its text. Both are empty if no signal did.
func signalOf(s *os.ProcessState) (name, text string) {
	status, ok := s.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return "", ""
	}
	return unix.SignalName(status.Signal()), status.Signal().String()
}

// mayBeKilled reports whether a process ended by the signal with which the host kills.
func mayBeKilled(s *os.ProcessState) bool {
	name, _ := signalOf(s)
	return name == "SIGKILL"
}

// cpuLimit returns the limit of CPU time at which the kernel sends a signal: the soft limit for SIGXCPU, the hard limit for SIGKILL (setrlimit(2)). The
// limits hold for this process and for each process that it starts. 0 means that there is no limit.
func cpuLimit(signal string) time.Duration {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_CPU, &limit) != nil {
		return 0
	}
	seconds := uint64(limit.Cur)
	if signal == "SIGKILL" {
		seconds = uint64(limit.Max)
	}
	if seconds > math.MaxInt64/uint64(time.Second) { // no limit (RLIM_INFINITY) is such a number
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// dataLimit, fileLimit and stackLimit return limits in bytes that this process and each that it starts have (setrlimit(2)). -1 means that there is none.
func dataLimit() int64  { return bytesLimit(unix.RLIMIT_DATA) }
func fileLimit() int64  { return bytesLimit(unix.RLIMIT_FSIZE) }
func stackLimit() int64 { return bytesLimit(unix.RLIMIT_STACK) }

func bytesLimit(resource int) int64 {
	var limit unix.Rlimit
	if unix.Getrlimit(resource, &limit) != nil || uint64(limit.Cur) > math.MaxInt64 {
		return -1
	}
	return int64(limit.Cur)
}

// maxRSS returns the largest number of resident bytes that a process had. getrusage(2) counts in KiB, and on macOS in bytes.
func maxRSS(s *os.ProcessState) int64 {
	usage, ok := s.SysUsage().(*syscall.Rusage)
	switch {
	case !ok:
		return 0
	case runtime.GOOS == "darwin" || runtime.GOOS == "ios":
		return int64(usage.Maxrss)
	default:
		return int64(usage.Maxrss) << 10
	}
}
