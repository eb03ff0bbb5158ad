//go:build !linux

package main

import "runtime"

func kernel() string { return runtime.GOOS }

func hardwareCPUs() int { return runtime.NumCPU() }

func cpuQuota() float64 { return 0 }

func readMemory() memory { return memory{} }

// systemFindings names what stands in for the Linux features that other systems do not have.
func systemFindings() []finding {
	if runtime.GOOS == "windows" {
		return nil // job objects do it all, and are the sandbox's
	}
	return []finding{
		{"system", "sessions", true, "each worker has its own", "a worker and what it starts are ended together, and do not get the terminal's Ctrl-C"},
		{"system", "parent-death signal", false, "not on " + runtime.GOOS, "workers watch a pipe instead to end with their host"},
	}
}
