// Package sleep does nothing for a given time: the workload that shows how many items wait at once, and how soon a cancelled one
// stops.
//
//	0.2        a fifth of a second
//	"200ms"    the same
//
// The result is the time that was asked for, in seconds, not the time that went by: the same items give the same output.
package sleep
