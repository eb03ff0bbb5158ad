//go:build !linux

package child

// preferToKill does nothing: this package knows no means for it on this system.
func preferToKill(int) {}
