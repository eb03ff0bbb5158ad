//go:build !linux

package sandbox

import "os"

// Self returns the name of this program for [Open] and [Checksum].
func Self() (string, error) { return os.Executable() }
