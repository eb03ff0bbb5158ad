package protocol

import (
	"encoding/json"
	"time"
)

// Manifest describes a workload to hosts and people. For an author, the zero value of each field is a sensible default, and the SDK sets the fields of the
// last group. Hosts refuse to start a worker whose manifest exceeds the limits of docs/PROTOCOL.md; package sdktest checks these limits.
type Manifest struct {
	Name        string `json:"name"`                  // letters, digits, "-", "_" and ".", at most 128 bytes
	Version     string `json:"version,omitempty"`     // of the workload, in any format
	Description string `json:"description,omitempty"` // one line

	// Examples are items that show what the workload does. They run when the caller gives no items. A host has each as a [json.RawMessage].
	Examples []any `json:"examples,omitempty"`
	// ItemSchema and ResultSchema are JSON Schemas (draft 2020-12). If an author leaves them empty, the SDK makes them from the Go types.
	ItemSchema   json.RawMessage `json:"item_schema,omitempty"`
	ResultSchema json.RawMessage `json:"result_schema,omitempty"`

	// Idempotent says that running an item twice does no harm, so hosts may retry it after a crash.
	Idempotent bool `json:"idempotent"`
	// NotConcurrent says that one process must not run two items at once, for example because of a C library that is not thread-safe. Several
	// processes still run in parallel; on goroutines and threads, items run one at a time.
	NotConcurrent bool `json:"not_concurrent"`
	// Prefer is the mode that the author recommends; "" is no preference.
	Prefer Mode `json:"prefer,omitempty"`
	// Threads is the number of items that one worker process should run at once, at most 4096. 0 means 1.
	Threads int `json:"threads"`
	// ItemTime is how long one item usually takes. 0 means unknown.
	ItemTime time.Duration `json:"item_time_ns,omitempty"`

	// Needs lists what a sandbox must allow the workload. It is information for the host's user, who alone can grant anything.
	Needs Needs `json:"needs,omitzero"`

	ItemKind   string `json:"item_kind"`     // how items are encoded: "float64", "[]int32", "string", "bytes", "proto:NAME" or "json"
	ResultKind string `json:"result_kind"`   // the same of results
	SDK        string `json:"sdk,omitempty"` // the library that serves the workload, and its version
}

// Needs lists what a workload requires in a sandbox. The zero value requires nothing.
type Needs struct {
	Network   bool `json:"network,omitempty"`   // TCP and UDP
	Processes bool `json:"processes,omitempty"` // the workload starts other processes

	// Read holds absolute paths of files and folders that the workload reads, and Write those that it also changes: at most 16 in both together, each
	// at most 256 bytes long and without a colon.
	Read  []string `json:"read,omitempty"`
	Write []string `json:"write,omitempty"`
	// MemoryBytes is the memory that one worker takes. 0 means unknown.
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
}

// Mode is where the items of a pool run.
type Mode string

// The modes.
const (
	ModeProcess    Mode = "process"    // in plugin processes, isolated from the host and from one another
	ModeGoroutine  Mode = "goroutine"  // on goroutines of the host's process
	ModeSequential Mode = "sequential" // one after the other on one goroutine of the host's process
)
