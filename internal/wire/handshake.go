package wire

import (
	"github.com/hashicorp/go-plugin"
)

// Version is the newest protocol version. go-plugin negotiates the highest version that both ends support.
const Version = 1

// PluginName is the name under which go-plugin dispenses the worker service.
const PluginName = "worker"

// Environment variables that the host sets for a worker.
const (
	// EnvWorkload names the workload to serve, for a program that links several.
	EnvWorkload = "PARHOST_WORKLOAD"
	// EnvAlive holds the number of a file descriptor from which a read returns end of file when the host is gone.
	EnvAlive = "PARHOST_ALIVE_FD"
	// EnvArena holds the number of the file descriptor of the arena, the memory that the worker shares with the host.
	EnvArena = "PARHOST_ARENA_FD"
	// EnvBuffers holds the number of the file descriptor of the pool's buffers, which the worker can only read.
	EnvBuffers = "PARHOST_BUFFERS_FD"
	// EnvLink holds the numbers of two file descriptors, as "5,6": a channel from the host and a channel to it, for the messages of the Work stream.
	EnvLink = "PARHOST_LINK_FDS"
	// EnvRings holds the numbers of three file descriptors, as "8,9,10": memory with two ring buffers, which may carry the link's messages instead of
	// the channels, and two eventfds by which the worker wakes the host for data and for room.
	EnvRings = "PARHOST_RING_FDS"
	// EnvMaxItemBytes holds the size of the largest item that the host sends, in bytes.
	EnvMaxItemBytes = "PARHOST_MAX_ITEM_BYTES"
	// EnvLogLevel holds hclog's level for the workload's logger.
	EnvLogLevel = "PARHOST_LOG_LEVEL"
)

// Handshake is go-plugin's magic cookie. It keeps people from starting a plugin by hand, and is not a secret.
var Handshake = plugin.HandshakeConfig{
	MagicCookieKey:   "PARHOST_PLUGIN",
	MagicCookieValue: "7c5d1f7e-run-me-with-parhost",
}

// Default limits of one item and of one result, in bytes.
const (
	DefaultMaxItemBytes   = 64 << 20
	DefaultMaxResultBytes = 64 << 20
)

// MessageSlack is the most bytes that a message may hold beside its column: identifiers, and errors with their stacks. Both ends limit a message to
// the largest item or result plus MessageSlack.
const MessageSlack = 8 << 20

// ArenaBytes is the size from which on a column travels through the arena. A smaller column is as cheap in a message.
const ArenaBytes = 4 << 10

// BatchBytes is the size of a column above which a batch is cut, and results are sent. It is large enough that the cost per message does not
// matter, and small enough that a worker's pipe holds a few.
const BatchBytes = 1 << 20

// Sizes of gRPC's windows and buffers at both ends. The windows are larger than two batches, so that a stream never waits for a window update while
// the other side works. Setting them also switches off gRPC's own estimation of window sizes.
const (
	WindowBytes = 16 << 20
	BufferBytes = 256 << 10
)

// MaxMessageText limits an error's message, and MaxStackText its stack, in bytes, so that a plugin cannot fill the host's memory with text.
const (
	MaxMessageText = 16 << 10
	MaxStackText   = 64 << 10
	MaxStacks      = 256 << 10 // of all goroutines or threads of a worker
)
