package sandbox

import (
	"errors"
	"fmt"
)

// ErrNotSupported is matched by errors that say that this machine cannot give what was asked for.
var ErrNotSupported = errors.New("not supported here")

// ErrNeedsFiles is matched by errors that say that a plugin cannot run without files which its policy does not open to it.
var ErrNeedsFiles = errors.New("the plugin needs more files")

// A StageError says where the way into the sandbox ended. It matches [ErrNotSupported].
type StageError struct {
	Level Level
	Stage string // such as clone, mount, landlock, seccomp, cgroup, exec
	Hint  string // what to change, empty if nobody knows
	Err   error
}

func (e *StageError) Error() string {
	s := fmt.Sprintf("sandbox level %s: %s: %v", e.Level, e.Stage, e.Err)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *StageError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrNotSupported].
func (e *StageError) Is(target error) bool { return target == ErrNotSupported }
