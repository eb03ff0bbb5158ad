// Package gobuild builds a Go package folder that a stranger may have written. Only the folder's own sources, and those of the modules that it
// imports, can reach the executable.
//
// docs/RATIONALE.md, "What may a folder make the go command do?", gives the reasons for the design.
package gobuild
