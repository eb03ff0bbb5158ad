package sdk

import (
	"github.com/parhost/parhost/internal/work"
	"github.com/parhost/parhost/protocol"
)

// BadItem returns an error that blames the item, not the workload: the host reports kind bad_item instead of failed. BadItem(nil) is nil.
func BadItem(err error) error {
	if err == nil {
		return nil
	}
	return &work.BadItemError{Err: err}
}

// BatchError is the error by which a function given to [Batch] fails single items. The function must still return one result for each item; the results of
// failed items are ignored.
//
//	Errs map[int]error // by the index of the failed item in the slice that the function got
type BatchError = protocol.BatchError
