// Package gobuild builds a Go package folder that a stranger may have written, so that nothing but the folder's own sources and those
// of the modules that it imports reach the executable.
//
// docs/RATIONALE.md, "What may a folder make the go command do?", says why it works the way it does.
package gobuild
