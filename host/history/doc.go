// Package history keeps what happened in a pool: a [Store] is a [host.Observer] that takes in all events, and answers questions about the run while it goes on
// and afterwards. Whatever shows a run reads it there.
//
// A store takes a few megabytes, however long the run is and however many items it has. It counts everything, keeps one by one only what is worth a look (the
// items that took longest, kinds of failures, starts and ends of workers), and keeps the rest in bins of time. When a run outgrows its bins, each two of them
// become one, so that the whole run is always there, at a resolution of its length.
package history
