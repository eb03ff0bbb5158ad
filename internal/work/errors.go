package work

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/parhost/parhost/internal/wire"
)

// BadItemError marks an error as the item's fault, not the workload's.
type BadItemError struct{ Err error }

func (e *BadItemError) Error() string { return e.Err.Error() }
func (e *BadItemError) Unwrap() error { return e.Err }

// BatchError is how a batch function says which of its items failed: by their places in what it was given.
type BatchError struct{ Errs map[int]error }

func (e *BatchError) Error() string { return fmt.Sprintf("%d items of the batch failed", len(e.Errs)) }

// itemError turns what a workload returned into an error that can travel.
func itemError(err error) *wire.ItemError {
	if bad, ok := errors.AsType[*BadItemError](err); ok {
		return &wire.ItemError{Kind: wire.BadItem, Message: bad.Error()}
	}
	return &wire.ItemError{Kind: wire.Failed, Message: err.Error()}
}

// decodeError turns what a codec said of an item into an error that can travel.
func decodeError(err error) *wire.ItemError {
	e := &wire.ItemError{Kind: wire.BadItem, Message: err.Error()}
	if text, ok := errors.AsType[*wire.TextError](err); ok {
		e.Offset = text.Offset
	}
	return e
}

// guard turns a panic of a set-up or teardown into an error.
func guard(stage string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panicked: %v\n%s", stage, p, debug.Stack())
		}
	}()
	return f()
}
