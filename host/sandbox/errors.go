package sandbox

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// ErrNotSupported is matched by errors that say that this machine cannot provide what was asked for.
var ErrNotSupported = errors.New("not supported here")

// ErrNeedsFiles is matched by errors that say that a plugin cannot run because it needs files that its policy does not open to it.
var ErrNeedsFiles = errors.New("the plugin needs more files")

// A NeedsFilesError says which folders to open to a plugin. It matches [ErrNeedsFiles].
type NeedsFilesError struct {
	Path   string // of the plugin
	Reason string
	// Folders are the folders to add to [Policy.ReadOnly]. On this machine they contain the loader or interpreter and usually everything that it
	// loads.
	Folders []string
	Static  bool // the plugin would need none if it were linked statically
}

func (e *NeedsFilesError) Error() string {
	s := fmt.Sprintf("%v: %s %s: open %s to it (Policy.ReadOnly)", ErrNeedsFiles, e.Path, e.Reason, strings.Join(e.Folders, ", "))
	if e.Static {
		s += ", or link it statically (a Go program that needs no C: CGO_ENABLED=0)"
	}
	return s
}

// Is reports whether target is [ErrNeedsFiles].
func (e *NeedsFilesError) Is(target error) bool { return target == ErrNeedsFiles }

// A StageError says which step of the way into the sandbox failed. It matches [ErrNotSupported], unless the plugin is not a program: no machine can
// run that, and the error matches [syscall.ENOEXEC] instead.
type StageError struct {
	Level Level
	Stage string // such as clone, mount, landlock, seccomp, cgroup, exec
	Hint  string // what to change; empty if that is unknown
	Err   error
}

func (e *StageError) Error() string {
	s := fmt.Sprintf("%s: %v", e.Stage, e.Err)
	if e.Level != Off { // limits exist at level off too
		s = fmt.Sprintf("sandbox level %s: %s", e.Level, s)
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *StageError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrNotSupported].
func (e *StageError) Is(target error) bool {
	return target == ErrNotSupported && !errors.Is(e.Err, syscall.ENOEXEC)
}

// changeableError is the error for a file that workers are started from, if workers could change the file or make its name lead elsewhere.
func changeableError(what, file, source string) error {
	return fmt.Errorf("sandbox: %s %q lies in %q, or a link to it does, which workers may change (--rw, Policy.ReadWrite): keep it elsewhere, or open to them a folder that does not hold it", what, file, source)
}
