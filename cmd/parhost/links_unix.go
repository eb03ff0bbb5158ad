//go:build unix

package main

import (
	"io/fs"
	"syscall"
)

// hasNames reports whether a regular file has more than one name (hard link).
func hasNames(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().IsRegular() && st.Nlink > 1
}
