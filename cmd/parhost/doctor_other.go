//go:build !linux

package main

import "runtime"

func kernel() string { return runtime.GOOS }

func hardwareCPUs() int { return runtime.NumCPU() }

func readMemory() memory { return memory{} }

// systemFindings reports what this system has in place of the Linux features.
func systemFindings() []finding {
	if runtime.GOOS == "windows" {
		return nil // job objects cover all of it, and the sandbox findings list them
	}
	return []finding{
		{"system", "sessions", true, "each worker has its own", "a worker and what it starts are ended together, and do not get the terminal's Ctrl-C"},
		{"system", "parent-death signal", false, "not on " + runtime.GOOS, "workers watch a pipe instead to end with their host"},
	}
}
