//go:build unix && !linux

package host

import (
	"os"
	"testing"
)

// lease has no counterpart here.
func lease(*testing.T, *os.File) {}
