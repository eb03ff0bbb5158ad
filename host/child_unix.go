//go:build unix

package host

import (
	"os"
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
