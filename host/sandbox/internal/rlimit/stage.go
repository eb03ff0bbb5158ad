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

// exitCode is the exit code if the command could not be executed. Shells use the same code for that.
const exitCode = 126

func init() {
	text, ok := os.LookupEnv(Variable)
	if !ok {
		return
	}
	fmt.Fprintf(os.Stderr, "sandbox: limits %q: %v\n", text, become(text))
	os.Exit(exitCode)
}

// become sets the limits and executes the command. It returns only if that failed.
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
		// This is not a raw call: syscall.Exec would reset the number of descriptors if package syscall did not know of the new limit.
		if err := syscall.Setrlimit(l.Resource, &syscall.Rlimit{Cur: l.Value, Max: l.Value}); err != nil {
			return os.NewSyscallError("setrlimit "+strconv.Itoa(l.Resource), err)
		}
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, Variable+"=") })
	return &os.PathError{Op: "execve", Path: os.Args[1], Err: syscall.Exec(os.Args[1], os.Args[1:], env)}
}

// closeRest marks all other descriptors close-on-exec. C libraries in the host's process may have opened some that Go does not know of.
func (s *Spec) closeRest() error {
	open, err := os.ReadDir("/dev/fd")
	if err != nil {
		return err
	}
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= 3+s.Keep {
			syscall.CloseOnExec(fd) // harmless if it has been closed meanwhile
		}
	}
	return nil
}
