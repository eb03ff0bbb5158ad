package wire

import "github.com/parhost/parhost/internal/wire/workerpb"

// ResultsBytes is what a message of results takes of its batch's credit: the column, wherever it lies, and the texts of errors.
func ResultsBytes(r *workerpb.Results) uint64 {
	size := uint64(len(r.GetValues()))
	if used := r.GetRoomUsed(); used > 0 { // which may be any number
		size = max(size, used)
	}
	for _, e := range r.GetErrors() {
		size += uint64(len(e.GetMessage())) + uint64(len(e.GetStack()))
	}
	return size
}
