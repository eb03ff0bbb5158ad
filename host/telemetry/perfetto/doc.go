// Package perfetto writes what happens in a pool as a trace that https://ui.perfetto.dev shows: a [Trace] is a [host.Observer].
//
// The trace has a track for the pool, with counters of the items that wait, and one for each worker, with its starts and ends, its memory and CPU time, and
// a track for each item that it runs at once. A batch is a slice there. Its items are slices within if they take 100 µs or more, and those that failed always are. Attempts that failed
// are marked, and an arrow leads from each of them to the next attempt at the same item.
//
// The format is TrackEvent: https://perfetto.dev/docs/reference/synthetic-track-event.
package perfetto
