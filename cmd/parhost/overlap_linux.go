package main

import (
	"fmt"
	"os"
)

// pathOf returns the path of a file that is open, wherever it has been moved since; empty if it has none any more.
func pathOf(f *os.File) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return ""
	}
	return path
}
