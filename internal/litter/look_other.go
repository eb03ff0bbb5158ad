//go:build !linux

package litter

import (
	"io/fs"
	"os"
)

// lstat is [os.Root.Lstat]. Only Linux can be told to cross no mount.
func lstat(root *os.Root, name string) (fs.FileInfo, error) { return root.Lstat(name) }
