package sdk

import "github.com/parhost/parhost/internal/work"

// BadItem returns an error that blames the item, not the workload: the host reports kind bad_item instead of failed. BadItem(nil) is nil.
func BadItem(err error) error {
	if err == nil {
		return nil
	}
	return &work.BadItemError{Err: err}
}

// BatchError is the error by which a function given to [Batch] fails single items. Errs maps the index of each failed item in the slice that the
// function got to its error. The function must still return one result for each item; the results of failed items are ignored.
type BatchError = work.BatchError
