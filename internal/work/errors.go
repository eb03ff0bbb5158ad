package work

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

// BadItemError marks an error as the fault of the item, not of the workload.
type BadItemError struct{ Err error }

func (e *BadItemError) Error() string { return e.Err.Error() }
func (e *BadItemError) Unwrap() error { return e.Err }

// itemError converts an error that a workload returned.
func itemError(err error) *protocol.ItemError {
	if bad, ok := errors.AsType[*BadItemError](err); ok {
		return &protocol.ItemError{Kind: protocol.KindBadItem, Message: bad.Error()}
	}
	return &protocol.ItemError{Kind: protocol.KindFailed, Message: err.Error()}
}

// decodeError converts a codec's error about an item.
func decodeError(err error) *protocol.ItemError {
	e := &protocol.ItemError{Kind: protocol.KindBadItem, Message: err.Error()}
	if text, ok := errors.AsType[*wire.TextError](err); ok {
		e.Offset = text.Offset
	}
	return e
}

// guard converts a panic of a set-up or teardown into an error.
func guard(stage string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panicked: %v\n%s", stage, p, debug.Stack())
		}
	}()
	return f()
}
