//go:build !linux

package host

// cpuQuota returns 0, because this system has no cgroups.
func cpuQuota() int { return 0 }
