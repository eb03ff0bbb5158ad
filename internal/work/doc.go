// Package work runs the items of a batch on a workload, one after the other, and reports the outcome of each.
//
// Both modes use it: a plugin process passes it columns from its stream, a goroutine passes it the caller's own slices.
package work
