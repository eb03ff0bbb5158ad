//go:build !linux

package host

// cpuQuota has no means here.
func cpuQuota() int { return 0 }

// preferToKill has no means here.
func preferToKill(int) {}
