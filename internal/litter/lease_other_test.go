//go:build unix && !linux

package litter

import (
	"os"
	"testing"
)

// lease has no counterpart here.
func lease(*testing.T, *os.File) {}
