//go:build !linux

package litter

import (
	"io/fs"
	"os"
)

// lstat is [os.Root.Lstat]. It may cross a mount, which only Linux can prevent.
func lstat(root *os.Root, name string) (fs.FileInfo, error) { return root.Lstat(name) }
