// Package wire defines what both ends of a worker's stream agree on: the handshake, the columns in which values travel, and the kinds of error.
//
// docs/PROTOCOL.md describes it for plugins in other languages. Package workerpb has the messages, generated from proto/parhost/v1/worker.proto.
package wire
