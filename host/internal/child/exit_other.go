//go:build !linux && !darwin

package child

// awaitExit has no portable form: a process can only be waited for and reaped at once.
func awaitExit(int) bool { return false }
