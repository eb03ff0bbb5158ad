// Package link carries the messages of a worker's stream over two channels, past HTTP/2: one write for each message, by the goroutine
// that has it to say, and one read for as many as have come.
//
// On Linux the frames may go over two rings in shared memory instead, which takes no system call while both ends are busy.
//
// A frame is the length of a message, a little-endian uint32, and the message as protobuf encodes it.
package link
