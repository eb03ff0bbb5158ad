package sandbox

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// ErrNotSupported is matched by errors that say that this machine cannot give what was asked for.
var ErrNotSupported = errors.New("not supported here")

// ErrNeedsFiles is matched by errors that say that a plugin cannot run without files which its policy does not open to it.
var ErrNeedsFiles = errors.New("the plugin needs more files")

// A NeedsFilesError says what to open to a plugin. It matches [ErrNeedsFiles].
type NeedsFilesError struct {
	Path   string // of the plugin
	Reason string
	// Folders are to be added to [Policy.ReadOnly]: those of this machine in which the loader or interpreter, and mostly all that it
	// loads, lie.
	Folders []string
	Static  bool // it needs none if it is linked statically
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

// A StageError says where the way into the sandbox ended. It matches [ErrNotSupported], unless the plugin is no program, which no machine can
// help: then it matches [syscall.ENOEXEC].
type StageError struct {
	Level Level
	Stage string // such as clone, mount, landlock, seccomp, cgroup, exec
	Hint  string // what to change, empty if nobody knows
	Err   error
}

func (e *StageError) Error() string {
	s := fmt.Sprintf("%s: %v", e.Stage, e.Err)
	if e.Level != Off { // there are limits without a sandbox too
		s = fmt.Sprintf("sandbox level %s: %s", e.Level, s)
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *StageError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrNotSupported].
func (e *StageError) Is(target error) bool {
	return target == ErrNotSupported && !errors.Is(e.Err, syscall.ENOEXEC)
}

// changeableError refuses a file that workers could change although they are started by it, or could have lead elsewhere.
func changeableError(what, file, source string) error {
	return fmt.Errorf("sandbox: %s %q lies in %q, or a link to it does, which workers may change (--rw, Policy.ReadWrite): keep it elsewhere, or open to them a folder that does not hold it", what, file, source)
}
