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

// Kind says what became of an item that has no result. Its text stands in records and reports.
type Kind string

// The kinds of failure.
const (
	BadItem     Kind = "bad_item"      // the item does not decode
	Failed      Kind = "failed"        // the workload returned an error
	Panicked    Kind = "panic"         // the workload panicked
	Timeout     Kind = "timeout"       // the item passed its time limit
	Crashed     Kind = "crashed"       // the worker process died while it ran the item
	OutOfMemory Kind = "out_of_memory" // the worker process was ended for its memory
	Oversize    Kind = "oversize"      // the item or its result is beyond the limit
	Canceled    Kind = "canceled"      // the item was cancelled before it had a result
)

// One error value for each kind, for errors.Is.
var (
	ErrBadItem     = errors.New("item does not decode")
	ErrFailed      = errors.New("workload returned an error")
	ErrPanic       = errors.New("workload panicked")
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
	{BadItem, workerpb.Kind_KIND_BAD_ITEM, ErrBadItem},
	{Failed, workerpb.Kind_KIND_FAILED, ErrFailed},
	{Panicked, workerpb.Kind_KIND_PANIC, ErrPanic},
	{Timeout, workerpb.Kind_KIND_TIMEOUT, ErrTimeout},
	{Canceled, workerpb.Kind_KIND_CANCELED, ErrCanceled},
	{Oversize, workerpb.Kind_KIND_OVERSIZE, ErrOversize},
	{Crashed, workerpb.Kind_KIND_UNSPECIFIED, ErrCrashed},
	{OutOfMemory, workerpb.Kind_KIND_UNSPECIFIED, ErrOutOfMemory},
}

// ItemError is why an item has no result. It is the same in every mode.
//
// It matches the Err value of its kind with errors.Is.
type ItemError struct {
	Index   int    // the item's place in its run, from 0
	Kind    Kind   // what happened
	Message string // in words

	Stack    string   // of a panic
	Offset   int      // BadItem: where the JSON text stops making sense, in bytes from 1; 0 means unknown
	Size     int64    // Oversize: bytes measured
	ExitCode int      // Crashed, Timeout: the exit code of the process, -1 if a signal ended it
	Signal   string   // Crashed, Timeout: the signal that ended the process, such as "SIGSEGV"
	Stderr   []string // Crashed, Timeout: the last lines that the process wrote, and before them those that say why it died
	Dump     string   // Crashed, Timeout: what it wrote from its last words on, such as the stacks of all goroutines
	Usage    *Usage   // Crashed, Timeout: what the process had used in its life; nil if that is not known
	Cause    Cause    // why the process died that the item is blamed for; empty if none did
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

// Cause says in a word why a process died.
type Cause string

// The causes.
const (
	CauseExit        Cause = "exit"          // it ended by itself
	CauseSignal      Cause = "signal"        // a signal that nothing below explains
	CauseOutOfMemory Cause = "out_of_memory" // for want of memory: the kernel killed it, or it gave up
	CausePIDs        Cause = "pids"          // it gave up after a process or thread was refused to it, at the limit
	CauseSeccomp     Cause = "seccomp"       // SIGSYS, for a system call that its sandbox forbids
	CauseFileSize    Cause = "file_size"     // SIGXFSZ, for a file that is too long
	CauseTimeout     Cause = "timeout"       // killed by its host: an item did not end in time
	CauseEscape      Cause = "escape"        // killed by its host: it had left the cgroup that holds its limits
	CauseFlood       Cause = "flood"         // killed by its host: it wrote without end
	CauseProtocol    Cause = "protocol"      // killed by its host: it broke the protocol
)

// Causes are all causes.
func Causes() []Cause { return slices.Clone(causes) }

// IsCause reports whether c is one of the causes.
func IsCause(c Cause) bool { return slices.Contains(causes, c) }

var causes = []Cause{
	CauseExit, CauseSignal, CauseOutOfMemory, CausePIDs, CauseSeccomp, CauseFileSize, CauseTimeout, CauseEscape, CauseFlood, CauseProtocol,
}

// Usage is what a process has used.
type Usage struct {
	User   time.Duration
	System time.Duration
	MaxRSS int64 // resident bytes at the most; 0 if that is not known
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

// Weight is how many bytes the texts of an error hold; none has no error.
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

// ToProto returns e as a worker sends it, with item as its place in the batch, its texts bounded.
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

// FromProto returns the error that a worker sent. A kind that a worker must not or cannot claim counts as Failed.
func FromProto(pb *workerpb.ItemError) *ItemError {
	e := &ItemError{
		Kind:    Failed,
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

// Bound makes s valid UTF-8 of at most n bytes, and says how much it cut. Bounding what has been bounded changes nothing.
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
	s = cutRune(s[:min(len(s), keep)]) // a byte that is no UTF-8 has become three
	return s + fmt.Sprintf(note, max(0, whole-len(s)))
}

// cutRune takes from the end of s what is only the beginning of a rune.
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
