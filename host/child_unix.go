//go:build unix

package host

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

const usesTCP = false

// killGroup kills the process and all that it started and that has not left its group.
func killGroup(p *os.Process) {
	_ = unix.Kill(-p.Pid, unix.SIGKILL)
	_ = p.Kill()
}

// dumpGoroutines asks a Go process for its stacks, which it writes to stderr before it ends.
func dumpGoroutines(p *os.Process) { _ = p.Signal(unix.SIGQUIT) }

// signalOf names the signal that ended a process, if one did.
func signalOf(s *os.ProcessState) (name, text string) {
	status, ok := s.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return "", ""
	}
	return unix.SignalName(status.Signal()), status.Signal().String()
}

// maxRSS returns the resident bytes that a process had at the most. getrusage(2) counts in KiB, that of macOS in bytes.
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
