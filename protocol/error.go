package protocol

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parhost/parhost/internal/lastword"
)

// ItemError says why an item has no result. It is the same in every mode.
//
// With errors.Is it matches the Err value of its kind.
type ItemError struct {
	Index   int    // the item's position in its run, from 0
	Kind    Kind   // what happened
	Message string // the error in words

	Stack    string   // KindPanicked: the stack
	Offset   int      // KindBadItem: position of the error in the JSON text, in bytes from 1; 0 means unknown
	Size     int64    // KindOversize: measured size in bytes
	ExitCode int      // the exit code of the process that died, -1 if a signal killed it
	Signal   string   // the signal that killed the process, such as "SIGSEGV"
	Stderr   []string // the lines that say why the process died, then the last lines that it wrote
	Dump     string   // output of the process from the line that says why it died, such as the stacks of all goroutines
	Usage    *Usage   // resources that the process used during its life; nil if unknown
	Cause    Cause    // why the process died whose death is blamed on the item; empty if none died
	Attempts int      // how often the item was begun
}

func (e *ItemError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "item %d: %s", e.Index, e.Kind)
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if word := lastword.In(e.Stderr); word != "" {
		b.WriteString("; stderr: " + strconv.Quote(word))
	}
	return b.String()
}

// Is reports whether target is the Err value of e's kind.
func (e *ItemError) Is(target error) bool {
	err, ok := kinds[e.Kind]
	return ok && err == target
}

// Kind says why an item has no result. Its text is part of records and reports.
type Kind string

// The kinds of failure.
const (
	KindBadItem     Kind = "bad_item"      // the item does not decode
	KindFailed      Kind = "failed"        // the workload returned an error
	KindPanicked    Kind = "panic"         // the workload panicked
	KindTimeout     Kind = "timeout"       // the item passed its time limit
	KindCrashed     Kind = "crashed"       // the worker process died while it ran the item
	KindOutOfMemory Kind = "out_of_memory" // the worker process was killed for its use of memory
	KindOversize    Kind = "oversize"      // the item or its result is beyond the limit
	KindCanceled    Kind = "canceled"      // the item was canceled before it had a result
)

// One error value for each kind, for errors.Is.
var (
	ErrBadItem     = errors.New("item does not decode")
	ErrFailed      = errors.New("workload returned an error")
	ErrPanicked    = errors.New("workload panicked")
	ErrTimeout     = errors.New("item passed its time limit")
	ErrCrashed     = errors.New("worker died while it ran the item")
	ErrOutOfMemory = errors.New("worker ran out of memory")
	ErrOversize    = errors.New("item or result is too large")
	ErrCanceled    = errors.New("item was canceled")
)

var kinds = map[Kind]error{
	KindBadItem: ErrBadItem, KindFailed: ErrFailed, KindPanicked: ErrPanicked, KindTimeout: ErrTimeout,
	KindCrashed: ErrCrashed, KindOutOfMemory: ErrOutOfMemory, KindOversize: ErrOversize, KindCanceled: ErrCanceled,
}

// IsKind reports whether k is one of the kinds.
func IsKind(k Kind) bool { return kinds[k] != nil }

// Cause says in one word why a process died.
type Cause string

// The causes.
const (
	CauseExit        Cause = "exit"          // it exited by itself
	CauseSignal      Cause = "signal"        // killed by a signal that no other cause explains
	CauseOutOfMemory Cause = "out_of_memory" // out of memory: the kernel killed it, or it gave up
	CausePIDs        Cause = "pids"          // it gave up because it was refused a process or thread at the limit
	CauseSeccomp     Cause = "seccomp"       // SIGSYS, for a system call that its sandbox forbids
	CauseFileSize    Cause = "file_size"     // SIGXFSZ, for a file beyond the size limit
	CauseTimeout     Cause = "timeout"       // killed by its host: an item did not end in time
	CauseEscape      Cause = "escape"        // killed by its host: it had left the cgroup that enforces its limits
	CauseFlood       Cause = "flood"         // killed by its host: it wrote output without end
	CauseProtocol    Cause = "protocol"      // killed by its host: it broke the protocol
)

// Causes returns all causes.
func Causes() []Cause { return slices.Clone(causes) }

// IsCause reports whether c is one of the causes.
func IsCause(c Cause) bool { return slices.Contains(causes, c) }

var causes = []Cause{
	CauseExit, CauseSignal, CauseOutOfMemory, CausePIDs, CauseSeccomp, CauseFileSize, CauseTimeout, CauseEscape, CauseFlood, CauseProtocol,
}

// Usage is the resources that an item or a process has used.
type Usage struct {
	User      time.Duration // CPU time in user mode
	System    time.Duration // CPU time in the kernel
	MaxRSS    int64         // largest resident set size of the process so far, in bytes; 0 if unknown
	Voluntary int           // context switches because the process waited
	Forced    int           // context switches because another process took its CPU
}

// BatchError is the error by which a workload that gets many items at once fails single items. The results of these items are ignored.
type BatchError struct {
	Errs map[int]error // by the index of the failed item in the slice that the workload got
}

func (e *BatchError) Error() string { return fmt.Sprintf("%d items of the batch failed", len(e.Errs)) }
