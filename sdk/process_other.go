//go:build !linux

package sdk

// wakeAsOrphan does nothing: only Linux has a parent-death signal.
func wakeAsOrphan() {}
