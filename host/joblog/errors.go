package joblog

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrUsed is yielded by the second call of Stream or Unordered on a journal.
	ErrUsed = errors.New("a journal is for one input")
	// ErrClosed is yielded by Stream and Unordered after Close.
	ErrClosed = errors.New("journal is closed")
	// ErrRemoved is the cause of a [WriteError] if the file was removed or replaced while the journal was open.
	ErrRemoved = errors.New("the file was removed or replaced during the run")
	// ErrCut is the cause of a [WriteError] if the file was truncated while the journal was open: records of results that were yielded are lost.
	ErrCut = errors.New("the file was cut during the run")
)

// InUseError says that another journal, in this or another process, has the file open.
type InUseError struct {
	Path string
	PID  int // of the process that has it open; 0 if unknown
}

func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("joblog %q is in use", e.Path)
	}
	return fmt.Sprintf("joblog %q is in use by process %d", e.Path, e.PID)
}

// ForeignError says that a file is not a journal, or has a format that this version cannot read. The file has not been changed.
type ForeignError struct {
	Path    string
	Problem string
}

func (e *ForeignError) Error() string { return fmt.Sprintf("joblog %q: %s", e.Path, e.Problem) }

// FinishedError says that a journal holds results, but Config.Resume is not set.
type FinishedError struct {
	Path  string
	Items int
}

func (e *FinishedError) Error() string {
	items := "items"
	if e.Items == 1 {
		items = "item"
	}
	return fmt.Sprintf("joblog %q holds %d finished %s of an earlier run", e.Path, e.Items, items)
}

// OriginError says that the results in a journal have another origin than the run that is about to start.
type OriginError struct {
	Path        string
	Differences []string // what differs, each with its old and its new value
}

func (e *OriginError) Error() string {
	return fmt.Sprintf("joblog %q holds results of something else: %s", e.Path, strings.Join(e.Differences, "; "))
}

// LineError says that a line of a journal is longer than any record can be. The file has not been changed.
type LineError struct {
	Path  string
	Line  int // line number, from 1
	Limit int // largest length of a line in bytes, which follows from Config.MaxResultBytes
}

func (e *LineError) Error() string {
	return fmt.Sprintf("joblog %q: line %d is longer than %d bytes, the limit of a record", e.Path, e.Line, e.Limit)
}

// WriteError says that a record could not be written or synced. The records of all results yielded before have been written; but if the error matches
// [ErrRemoved] or [ErrCut], some or all of them are lost.
type WriteError struct {
	Path string
	Err  error
}

func (e *WriteError) Error() string { return fmt.Sprintf("write joblog %q: %v", e.Path, e.Err) }
func (e *WriteError) Unwrap() error { return e.Err }
