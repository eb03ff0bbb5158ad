//go:build unix && !linux

package host_test

import "testing"

// checkGone has no way here to find processes by their environment.
func checkGone(*testing.T, string) {}
