package sdk

import "github.com/parhost/parhost/internal/work"

// BadItem marks err as the item's own fault: a host reports it as bad_item, not as failed. BadItem(nil) is nil.
func BadItem(err error) error {
	if err == nil {
		return nil
	}
	return &work.BadItemError{Err: err}
}

// BatchError is how a function given to [Batch] fails single items: Errs holds the error of each failed item by its place in
// the slice that the function was given. The function still returns one result for each item; those of failed items are ignored.
type BatchError = work.BatchError
