// Package link carries the messages of a worker's stream over two channels instead of HTTP/2. The goroutine that sends a message writes it with one
// system call, and one read takes all messages that have come.
//
// On Linux the frames may go over two rings in shared memory instead, which need no system call while both ends are busy.
//
// A frame is the length of a message, a little-endian uint32, followed by the message in protobuf's encoding.
package link
