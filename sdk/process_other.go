//go:build !linux

package sdk

// wakeAsOrphan has no counterpart here.
func wakeAsOrphan() {}
