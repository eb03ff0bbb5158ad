// Package history keeps what happened in a pool: a [Store] is a [host.Observer] that takes in all events, and answers questions about the run while it goes on
// and afterwards. Whatever shows a run reads it there.
//
// A store takes a few megabytes, however long the run is and however many items it has. It counts everything. It keeps the ten slowest items, groups of
// failures, and the latest starts and ends of workers one by one. Everything else is summed up in bins, each of which covers a short span of time. When a run
// has filled all bins, each pair of neighbours is merged into one bin of twice the width. So the bins always cover the whole run.
package history
