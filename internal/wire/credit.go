package wire

import "github.com/parhost/parhost/internal/wire/workerpb"

// CanceledBytes is an upper bound of the bytes that one canceled item takes in a message. Canceled items need no credit.
const CanceledBytes = 128

// ResultsBytes returns how much of its batch's credit a message of results uses: the bytes of the column, inline or in the arena, and of the errors' texts.
func ResultsBytes(r *workerpb.Results) uint64 {
	size := uint64(len(r.GetValues()))
	if used := r.GetRoomUsed(); used > 0 { // a worker may send any number
		size = max(size, used)
	}
	for _, e := range r.GetErrors() {
		size += uint64(len(e.GetMessage())) + uint64(len(e.GetStack()))
	}
	return size
}
