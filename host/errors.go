package host

import (
	"errors"
	"fmt"
	"strings"

	"github.com/parhost/parhost/internal/wire"
)

// ItemError is why an item has no result. It is the same type with the same fields in every mode.
type ItemError = wire.ItemError

// Usage is what a process had used when it ended.
type Usage = wire.Usage

// Cause says in a word why a process died.
type Cause = wire.Cause

// The causes, as they stand in [ItemError] and in records. Of limits the kernel tells only where a cgroup counts; elsewhere a process that ran into
// one looks like any other.
const (
	CauseExit        = wire.CauseExit
	CauseSignal      = wire.CauseSignal
	CauseOutOfMemory = wire.CauseOutOfMemory
	CausePIDs        = wire.CausePIDs
	CauseSeccomp     = wire.CauseSeccomp
	CauseFileSize    = wire.CauseFileSize
	CauseTimeout     = wire.CauseTimeout
	CauseEscape      = wire.CauseEscape
	CauseFlood       = wire.CauseFlood
	CauseProtocol    = wire.CauseProtocol
)

// Kind says what happened to an item that has no result.
type Kind = wire.Kind

// The kinds of failure, as they stand in [ItemError] and in records.
const (
	BadItem     = wire.BadItem
	Failed      = wire.Failed
	Panicked    = wire.Panicked
	Timeout     = wire.Timeout
	Crashed     = wire.Crashed
	OutOfMemory = wire.OutOfMemory
	Oversize    = wire.Oversize
	Canceled    = wire.Canceled
)

// What an [ItemError] matches with errors.Is, by its kind.
var (
	ErrBadItem     = wire.ErrBadItem
	ErrFailed      = wire.ErrFailed
	ErrPanic       = wire.ErrPanic
	ErrTimeout     = wire.ErrTimeout
	ErrCrashed     = wire.ErrCrashed
	ErrOutOfMemory = wire.ErrOutOfMemory
	ErrOversize    = wire.ErrOversize
	ErrCanceled    = wire.ErrCanceled
)

var (
	// ErrClosed is returned for work that comes after Shutdown or Close, or that Close cut off.
	ErrClosed = errors.New("pool is closed")
	// ErrObserving is returned by Shutdown and Close while a call of [Config.Observer] keeps the pool from ending: perhaps their own caller.
	ErrObserving = errors.New("pool cannot end before a call of Config.Observer has returned")
	// ErrNested is returned to an item that runs items on its own pool, with a context that comes from its own, in modes goroutine and sequential.
	ErrNested = errors.New("an item may not run items on its own pool: each would wait for the other; give it a pool of its own")
	// ErrNotFound matches the error of [Find] for a name that no plugin has.
	ErrNotFound = errors.New("no such plugin")
)

// ConfigError names the field of a [Config] that cannot be used.
type ConfigError struct {
	Field   string
	Problem string
}

func (e *ConfigError) Error() string { return "Config." + e.Field + ": " + e.Problem }

// StartError says at which stage a worker's start failed, and what the process said last.
type StartError struct {
	Worker int    // its number in the pool, from 1
	Plugin string // as Config named it
	Stage  string // "sockets" (no place for the pool's folder), "exec", "sandbox", "handshake", "dial", "describe" or "set-up"
	Err    error
	Stderr []string // the last lines
	Cause  Cause    // of the process's death, empty if it did not come to one by itself

	// Manifest is what this worker said of itself, without the schemas. It is zero if the worker did not come so far.
	Manifest Manifest
}

func (e *StartError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "start worker %d of %q: %s: %v", e.Worker, e.Plugin, e.Stage, e.Err)
	if len(e.Stderr) > 0 {
		fmt.Fprintf(&b, "; stderr: %q", strings.Join(e.Stderr, "\n"))
	}
	return b.String()
}

func (e *StartError) Unwrap() error { return e.Err }

// BrokenError says that a pool gave up: its workers could not be started again, or started and did nothing.
type BrokenError struct {
	Failures int   // starts that failed one after the other; 0 if it was not for these
	Idle     int   // workers that ended one after the other with nothing done of what they had been given; 0 if it was not for these
	Err      error // the last reason
}

func (e *BrokenError) Error() string {
	switch {
	case e.Idle > 0:
		return fmt.Sprintf("gave up after %d workers in a row started and ended with no item done, the last one: %v", e.Idle, e.Err)
	case e.Failures == 0:
		return "gave up: " + e.Err.Error()
	}
	return fmt.Sprintf("gave up after %d failed starts in a row, the last one: %v", e.Failures, e.Err)
}

func (e *BrokenError) Unwrap() error { return e.Err }

// MapError is what [Map] returns when some items failed.
type MapError struct {
	Items int          // all items of the call
	Errs  []*ItemError // of those that failed, by index
}

func (e *MapError) Error() string {
	return fmt.Sprintf("%d of %s failed, the first: %v", len(e.Errs), wire.Count(e.Items, "item"), e.Errs[0])
}

// Unwrap returns the errors of the items.
func (e *MapError) Unwrap() []error {
	errs := make([]error, len(e.Errs))
	for i, err := range e.Errs {
		errs[i] = err
	}
	return errs
}
