// Package sleep does nothing for a given time. The workload shows how many items can wait at once, and how soon a canceled item stops.
//
//	0.2        a fifth of a second
//	"200ms"    the same
//
// The result is the requested time in seconds, not the time that passed, so that the same items always give the same output.
package sleep
