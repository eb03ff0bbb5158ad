package wire

import (
	"github.com/hashicorp/go-plugin"
)

// Version is the newest protocol version. go-plugin's negotiation picks the highest version that both ends name.
const Version = 1

// PluginName is the name under which go-plugin dispenses the worker service.
const PluginName = "worker"

// What the host puts into the environment of a worker.
const (
	// EnvWorkload names the workload that a program which links several is to serve.
	EnvWorkload = "PARHOST_WORKLOAD"
	// EnvAlive is the number of a file descriptor that reads as ended when the host is gone.
	EnvAlive = "PARHOST_ALIVE_FD"
	// EnvArena is the number of the file descriptor of the memory that the worker shares with the host.
	EnvArena = "PARHOST_ARENA_FD"
	// EnvBuffers is the number of the file descriptor of the pool's buffers, which the worker can only read.
	EnvBuffers = "PARHOST_BUFFERS_FD"
	// EnvLink is the numbers of two file descriptors, "5,6": of a channel from the host and of one to it, for the messages of the Work
	// stream.
	EnvLink = "PARHOST_LINK_FDS"
	// EnvRings is the numbers of three file descriptors, "8,9,10": of memory with two ring buffers, over which the link's messages may go
	// instead, and of two eventfds that wake the host for data and for room.
	EnvRings = "PARHOST_RING_FDS"
	// EnvMaxItemBytes is the largest item that the host sends.
	EnvMaxItemBytes = "PARHOST_MAX_ITEM_BYTES"
	// EnvLogLevel is hclog's level for the workload's logger.
	EnvLogLevel = "PARHOST_LOG_LEVEL"
)

// Handshake is go-plugin's magic cookie: it keeps people from starting a plugin by hand, and is no secret.
var Handshake = plugin.HandshakeConfig{
	MagicCookieKey:   "PARHOST_PLUGIN",
	MagicCookieValue: "7c5d1f7e-run-me-with-parhost",
}

// Default limits of one item and of one result, in bytes.
const (
	DefaultMaxItemBytes   = 64 << 20
	DefaultMaxResultBytes = 64 << 20
)

// MessageSlack is what one message may hold beside its column: identifiers, and errors with their stacks. Both ends bound a
// message by the largest item or result and this.
const MessageSlack = 8 << 20

// ArenaBytes is the size of a column from which on it travels through the arena: below it the message costs no more.
const ArenaBytes = 4 << 10

// BatchBytes is the size of a column above which a batch is cut and results are sent on: large enough that a message's own
// cost does not show, small enough that a worker's pipe holds a few.
const BatchBytes = 1 << 20

// gRPC's windows and buffers, at both ends. The windows are larger than two batches, so that a stream never waits for credit
// while the other side works; fixed windows also switch off gRPC's own probing for better ones.
const (
	WindowBytes = 16 << 20
	BufferBytes = 256 << 10
)

// MaxMessageText bounds an error's message, MaxStackText its stack, in bytes: a plugin must not fill the host with words.
const (
	MaxMessageText = 16 << 10
	MaxStackText   = 64 << 10
)
