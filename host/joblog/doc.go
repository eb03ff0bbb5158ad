// Package joblog keeps what became of items: a journal of all, so that a run which was killed goes on where it stopped, and dossiers of
// those that failed.
//
//	cfg := host.Config{Plugin: "./parhost-plugin-sqrt"}
//	origin, err := joblog.OriginOf(cfg)
//	…
//	j, err := joblog.Open(joblog.Config{Path: "run.joblog", Origin: origin, Resume: true})
//	…
//	for result, err := range j.Stream(ctx, pool, items) { // as host.Stream
//		…
//	}
//	err = j.Close()
//
// A result is yielded only after its record has been written: the end of the program, whatever its cause, loses nothing that was seen.
// The file is synced once a second and by Close: the end of the machine loses a second at most.
//
// An item is known by its text and by how often that has come before, not by its place. Results are read back from the file:
// in memory the journal takes some 50 bytes for each item that it held when it was opened, up to 135 while it reads
// more than a million, and a few MiB for what is under way.
//
// docs/JOBLOG.md has the format and the promises.
package joblog
