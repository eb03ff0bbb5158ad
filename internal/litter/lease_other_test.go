//go:build unix && !linux

package litter

import (
	"os"
	"testing"
)

// lease does nothing: only Linux has leases.
func lease(*testing.T, *os.File) {}
