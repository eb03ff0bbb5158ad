package main

import (
	"fmt"
	"os"
)

// pathOf returns the current path of an open file, even if the file has been renamed. It returns "" if the path cannot be read.
func pathOf(f *os.File) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return ""
	}
	return path
}
