// Package work runs the items of a batch on a workload, one after the other, and says what became of each.
//
// It is the part of a worker that both modes share: a plugin process feeds it columns from its stream, a goroutine hands it the
// caller's own slices.
package work
