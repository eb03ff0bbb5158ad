package sdk

import "github.com/parhost/parhost/protocol"

// Manifest describes a workload to hosts and people. Fields that are zero have sensible defaults:
//
//	Name, Version, Description string
//	Examples                   []any           // items that show what the workload does; they run when the caller gives none
//	ItemSchema, ResultSchema   json.RawMessage // JSON Schemas; default: made from the Go types
//	Idempotent                 bool            // running an item twice does no harm
//	NotConcurrent              bool            // one process must not run two items at once
//	Prefer                     protocol.Mode   // "process", "goroutine" or "sequential"
//	Threads                    int             // items that one worker process should run at once; 0 means 1
//	ItemTime                   time.Duration   // how long one item usually takes
//	Needs                      Needs           // what a sandbox must allow
//	ItemKind, ResultKind, SDK  string          // set by the SDK
//
// [protocol.Manifest] says more of each.
type Manifest = protocol.Manifest

// Needs lists what a workload requires in a sandbox. The zero value requires nothing:
//
//	Network     bool     // TCP and UDP
//	Processes   bool     // the workload starts other processes
//	Read, Write []string // absolute paths that it reads, and those that it also changes
//	MemoryBytes int64    // of one worker; 0 means unknown
//
// [protocol.Needs] says more of each.
type Needs = protocol.Needs
