//go:build linux || darwin

package rlimit

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// exitCode is that of a stage which could not become what it should; shells have the same for what they cannot execute.
const exitCode = 126

func init() {
	text, ok := os.LookupEnv(Variable)
	if !ok {
		return
	}
	fmt.Fprintf(os.Stderr, "sandbox: limits %q: %v\n", text, become(text))
	os.Exit(exitCode)
}

// become returns only if it has failed.
func become(text string) error {
	s, err := Parse(text)
	if err != nil {
		return err
	}
	if len(os.Args) < 2 {
		return fmt.Errorf("%d arguments, want a command", len(os.Args))
	}
	if err := s.closeRest(); err != nil {
		return err
	}
	for _, l := range s.Limits {
		// Not around package syscall: its Exec would set the number of descriptors back to what it was before, if that did not know of this.
		if err := syscall.Setrlimit(l.Resource, &syscall.Rlimit{Cur: l.Value, Max: l.Value}); err != nil {
			return os.NewSyscallError("setrlimit "+strconv.Itoa(l.Resource), err)
		}
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, Variable+"=") })
	return &os.PathError{Op: "execve", Path: os.Args[1], Err: syscall.Exec(os.Args[1], os.Args[1:], env)}
}

// closeRest sees to it that no other descriptors stay: a host that C libraries share may have some that Go knows nothing of.
func (s *Spec) closeRest() error {
	open, err := os.ReadDir("/dev/fd")
	if err != nil {
		return err
	}
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= 3+s.Keep {
			syscall.CloseOnExec(fd) // one that has been closed meanwhile does not mind
		}
	}
	return nil
}
