// Package arena provides the memory that a host shares with its worker processes, so that items and results need not be copied through the stream.
//
// There are three kinds. An [Arena] is shared by the host and one worker, and both write there. The host makes it with a fixed size, and hands out
// its slots; the worker maps the same pages. The host checks everything that a worker says about the arena before it uses it. The worker may change
// any byte at any time, so the host copies a result out of the arena before it looks at it.
//
//	page 0            the black box: which item each thread of the worker runs
//	from DataOffset   slots, handed out by the host alone
//
// [Buffers] are shared by the host and all workers of a pool. Only the host can write there, so that its callers can build items in the buffers;
// the kernel prevents all writes by workers.
//
//	page 0            unused
//	from DataOffset   slots, handed out by the host alone
//
// Rings are shared by the host and one worker, and both write there. Package link defines their layout.
package arena
