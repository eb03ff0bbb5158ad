// Package link carries the messages of a worker's stream over two pipes, past HTTP/2: one write for each message, by the goroutine
// that has it to say, and one read for as many as have come.
//
// Pipes, because a unix socket also wakes whoever waits at it each time that its other end has read something. That made every round
// trip twice as long.
//
// A frame is the length of a message, a little-endian uint32, and the message as protobuf encodes it.
package link
