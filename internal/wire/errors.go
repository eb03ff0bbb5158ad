package wire

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

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
	ErrPanicked       = errors.New("workload panicked")
	ErrTimeout     = errors.New("item passed its time limit")
	ErrCrashed     = errors.New("worker died while it ran the item")
	ErrOutOfMemory = errors.New("worker ran out of memory")
	ErrOversize    = errors.New("item or result is too large")
	ErrCanceled    = errors.New("item was canceled")
)

var kinds = []struct {
	kind Kind
	pb   workerpb.Kind
	err  error
}{
	{KindBadItem, workerpb.Kind_KIND_BAD_ITEM, ErrBadItem},
	{KindFailed, workerpb.Kind_KIND_FAILED, ErrFailed},
	{KindPanicked, workerpb.Kind_KIND_PANIC, ErrPanicked},
	{KindTimeout, workerpb.Kind_KIND_TIMEOUT, ErrTimeout},
	{KindCanceled, workerpb.Kind_KIND_CANCELED, ErrCanceled},
	{KindOversize, workerpb.Kind_KIND_OVERSIZE, ErrOversize},
	{KindCrashed, workerpb.Kind_KIND_UNSPECIFIED, ErrCrashed},
	{KindOutOfMemory, workerpb.Kind_KIND_UNSPECIFIED, ErrOutOfMemory},
}

// ItemError says why an item has no result. It is the same in every mode.
//
// With errors.Is it matches the Err value of its kind.
type ItemError struct {
	Index   int    // the item's position in its run, from 0
	Kind    Kind   // what happened
	Message string // the error in words

	Stack    string   // Panicked: the stack
	Offset   int      // BadItem: position of the error in the JSON text, in bytes from 1; 0 means unknown
	Size     int64    // Oversize: measured size in bytes
	ExitCode int      // Crashed, Timeout: the exit code of the process, -1 if a signal killed it
	Signal   string   // Crashed, Timeout: the signal that killed the process, such as "SIGSEGV"
	Stderr   []string // Crashed, Timeout: the lines that say why the process died, then the last lines that it wrote
	Dump     string   // Crashed, Timeout: output from the line that says why it died, such as the stacks of all goroutines
	Usage    *Usage   // Crashed, Timeout: resources that the process used during its life; nil if unknown
	Cause    Cause    // why the process died whose death is blamed on the item; empty if none died
	Attempts int      // how often the item was begun
}

// IsKind reports whether k is one of the kinds.
func IsKind(k Kind) bool {
	for i := range kinds {
		if kinds[i].kind == k {
			return true
		}
	}
	return false
}

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

// Usage is the resources that a process has used.
type Usage struct {
	User   time.Duration
	System time.Duration
	MaxRSS int64 // largest resident set size in bytes; 0 if unknown
}

func (e *ItemError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "item %d: %s", e.Index, e.Kind)
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if word := LastWord(e.Stderr); word != "" {
		b.WriteString("; stderr: " + strconv.Quote(word))
	}
	return b.String()
}

// Weight returns the number of bytes in the texts of an error. It returns 0 for nil.
func Weight(e *ItemError) int {
	if e == nil {
		return 0
	}
	size := len(e.Message) + len(e.Stack) + len(e.Dump)
	for _, line := range e.Stderr {
		size += len(line)
	}
	return size
}

// Is reports whether target is the Err value of e's kind.
func (e *ItemError) Is(target error) bool {
	for _, k := range kinds {
		if k.kind == e.Kind {
			return k.err == target
		}
	}
	return false
}

// ToProto returns e as a message, with item as its place in the batch, and its texts cut to their limits.
func (e *ItemError) ToProto(item int) *workerpb.ItemError {
	pb := &workerpb.ItemError{
		Item:    uint32(item),
		Kind:    workerpb.Kind_KIND_FAILED,
		Message: Bound(e.Message, MaxMessageText),
		Stack:   Bound(e.Stack, MaxStackText),
		Offset:  uint64(e.Offset),
		Size:    uint64(e.Size),
	}
	for _, k := range kinds {
		if k.kind == e.Kind && k.pb != workerpb.Kind_KIND_UNSPECIFIED {
			pb.Kind = k.pb
		}
	}
	return pb
}

// FromProto returns the error that a worker sent. A kind that a worker may not claim, or that is unknown, becomes Failed.
func FromProto(pb *workerpb.ItemError) *ItemError {
	e := &ItemError{
		Kind:    KindFailed,
		Message: Bound(pb.GetMessage(), MaxMessageText),
		Stack:   Bound(pb.GetStack(), MaxStackText),
		Offset:  int(min(pb.GetOffset(), 1<<40)),
		Size:    int64(min(pb.GetSize(), 1<<60)),
	}
	for _, k := range kinds {
		if k.pb == pb.GetKind() && k.pb != workerpb.Kind_KIND_UNSPECIFIED {
			e.Kind = k.kind
		}
	}
	return e
}

// Bound makes s valid UTF-8 of at most n bytes, and appends a note of how much it cut. Applied to its own result, it changes nothing.
func Bound(s string, n int) string {
	if len(s) <= n && utf8.ValidString(s) {
		return s
	}
	const note = " … (%d bytes cut)"
	whole := len(s)
	keep := max(0, n-len(note)-len("9223372036854775807"))
	if whole > n {
		s = cutRune(s[:keep])
	}
	if s = strings.ToValidUTF8(s, "\uFFFD"); whole <= n && len(s) <= n {
		return s
	}
	s = cutRune(s[:min(len(s), keep)]) // each byte that is not UTF-8 has become three
	return s + fmt.Sprintf(note, max(0, whole-len(s)))
}

// cutRune removes an incomplete rune from the end of s.
func cutRune(s string) string {
	for cut := 1; cut < utf8.UTFMax && cut <= len(s); cut++ {
		if c := s[len(s)-cut]; utf8.RuneStart(c) {
			if !utf8.FullRuneInString(s[len(s)-cut:]) {
				return s[:len(s)-cut]
			}
			break
		}
	}
	return s
}
