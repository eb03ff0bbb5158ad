// Package arena is the memory that a host shares with its worker processes, so that items and results need not be copied through
// the stream.
//
// There are three kinds. An [Arena] is between the host and one worker, and both write there. The host makes it, sizes it for good, and
// hands out its slots; the worker maps the same pages. Nothing that a worker says of it is used before it is checked, and the
// worker may change any byte at any time: the host copies a result out before it looks at it.
//
//	page 0            the black box: which item each thread of the worker runs
//	from DataOffset   slots, handed out by the host alone
//
// [Buffers] are between the host and all workers of a pool. The host alone can write there, for its callers to build items in; a
// worker cannot, whatever it does.
//
//	page 0            nothing
//	from DataOffset   slots, handed out by the host alone
//
// Rings are between the host and one worker, and both write there. Package link has their layout.
package arena
