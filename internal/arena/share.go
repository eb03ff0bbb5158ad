package arena

import "math"

// If address space is limited (ulimit -v), a process dies when it cannot map the stack of a thread. The Go runtime reserves 600 MiB, and in a
// program with cgo the C library reserves 72 MiB for each thread. addressReserve leaves room for both. The arenas of a pool together may take
// 1/addressShare of the rest, and its buffers may take as much.
const (
	addressReserve = 2 << 30
	addressShare   = 8
)

// Share returns how many bytes of address space all arenas of a pool may take together. The pool's buffers may take the same number.
func Share() int64 {
	if limit := AddressSpace(); limit > 0 {
		return max(0, limit-addressReserve) / addressShare
	}
	return math.MaxInt64
}
