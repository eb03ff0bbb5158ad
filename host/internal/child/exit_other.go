//go:build !linux && !darwin

package child

// awaitExit returns false: these systems have no portable way to wait for a process without reaping it.
func awaitExit(int) bool { return false }
