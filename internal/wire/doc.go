// Package wire is what both ends of a worker's stream agree on: the handshake, the columns in which values travel, and the
// kinds of error.
//
// docs/PROTOCOL.md says the same for plugins in other languages. The messages are generated into workerpb from
// proto/parhost/v1/worker.proto.
package wire
