package host

import (
	"errors"
	"fmt"
	"strings"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

// ItemError says why an item has no result. It has the same type and fields in every mode. With errors.Is it matches the Err value of its kind. Fields
// that do not belong to the kind are zero:
//
//	Index    int      // the item's position in its run, from 0
//	Kind     Kind     // what happened
//	Message  string   // the error in words
//	Stack    string   // KindPanicked: the stack
//	Offset   int      // KindBadItem: position of the error in the JSON text, in bytes from 1; 0 means unknown
//	Size     int64    // KindOversize: measured size in bytes
//	ExitCode int      // of the process that died, -1 if a signal killed it
//	Signal   string   // the signal that killed the process, such as "SIGSEGV"
//	Stderr   []string // the lines that say why the process died, then the last lines that it wrote
//	Dump     string   // output from the line that says why it died, such as the stacks of all goroutines
//	Usage    *Usage   // resources that the process used during its life; nil if unknown
//	Cause    Cause    // why the process died whose death is blamed on the item; empty if none died
//	Attempts int      // how often the item was begun
type ItemError = protocol.ItemError

// Usage is the resources that an item has used, or a process when it ended:
//
//	User      time.Duration // CPU time in user mode
//	System    time.Duration // CPU time in the kernel
//	MaxRSS    int64         // largest resident set size of the process so far, in bytes; 0 if unknown
//	Voluntary int           // context switches because the process waited
//	Forced    int           // context switches because another process took its CPU
type Usage = protocol.Usage

// Cause says in one word why a process died.
type Cause = protocol.Cause

// The causes, as they appear in [ItemError] and in records. The kernel reports that a process reached a limit only if a cgroup counts the resource. Without
// one, such a process looks like any other that died.
const (
	CauseExit        = protocol.CauseExit
	CauseSignal      = protocol.CauseSignal
	CauseOutOfMemory = protocol.CauseOutOfMemory
	CausePIDs        = protocol.CausePIDs
	CauseSeccomp     = protocol.CauseSeccomp
	CauseFileSize    = protocol.CauseFileSize
	CauseTimeout     = protocol.CauseTimeout
	CauseEscape      = protocol.CauseEscape
	CauseFlood       = protocol.CauseFlood
	CauseProtocol    = protocol.CauseProtocol
)

// Kind says what happened to an item that has no result.
type Kind = protocol.Kind

// The kinds of failure, as they appear in [ItemError] and in records.
const (
	KindBadItem     = protocol.KindBadItem
	KindFailed      = protocol.KindFailed
	KindPanicked    = protocol.KindPanicked
	KindTimeout     = protocol.KindTimeout
	KindCrashed     = protocol.KindCrashed
	KindOutOfMemory = protocol.KindOutOfMemory
	KindOversize    = protocol.KindOversize
	KindCanceled    = protocol.KindCanceled
)

// An [ItemError] matches one of these errors with errors.Is, according to its kind.
var (
	ErrBadItem     = protocol.ErrBadItem
	ErrFailed      = protocol.ErrFailed
	ErrPanicked    = protocol.ErrPanicked
	ErrTimeout     = protocol.ErrTimeout
	ErrCrashed     = protocol.ErrCrashed
	ErrOutOfMemory = protocol.ErrOutOfMemory
	ErrOversize    = protocol.ErrOversize
	ErrCanceled    = protocol.ErrCanceled
)

var (
	// ErrClosed is returned for work that comes after Shutdown or Close, and for work that Close interrupted.
	ErrClosed = errors.New("pool is closed")
	// ErrObserving is returned by Shutdown and Close while a call of [Config.Observer] keeps the pool from ending. The caller may itself be such a call.
	ErrObserving = errors.New("pool cannot end before a call of Config.Observer has returned")
	// ErrNested is returned to an item that runs items on its own pool, with a context that derives from its own, in modes goroutine and sequential.
	ErrNested = errors.New("an item may not run items on its own pool: each would wait for the other; give it a pool of its own")
	// ErrNotFound matches the error of [Find] if no plugin has the name.
	ErrNotFound = errors.New("no such plugin")
)

// ConfigError names the field of a [Config] that cannot be used.
type ConfigError struct {
	Field   string
	Problem string
}

func (e *ConfigError) Error() string { return "Config." + e.Field + ": " + e.Problem }

// StartError says at which stage the start of a worker failed, and has the last output of the process.
type StartError struct {
	Worker int    // number of the worker in the pool, from 1
	Plugin string // as Config named it
	Stage  string // "sockets" (no place for the pool's folder), "exec", "sandbox", "handshake", "dial", "describe" or "set-up"
	Err    error
	Stderr []string // last lines of stderr
	Cause  Cause    // cause of the process's death; empty if the process did not die by itself

	// Manifest is the worker's manifest, without the schemas. It is zero if the start failed before the worker had sent it.
	Manifest protocol.Manifest
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

// BrokenError says that a pool gave up, because its workers could not be started again, or started and did nothing.
type BrokenError struct {
	Failures int   // failed starts in a row; 0 if these were not the reason
	Idle     int   // workers in a row that were given items and ended with none of them done; 0 if these were not the reason
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

// MapError is what [Typed.Map] returns when some items failed.
type MapError struct {
	Items int          // all items of the call
	Errs  []*ItemError // errors of the failed items, by index
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
