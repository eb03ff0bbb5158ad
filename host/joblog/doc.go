// Package joblog keeps a journal of finished items, with which a killed run continues where it stopped.
//
//	cfg := host.Config{Plugin: "./parhost-plugin-sqrt"}
//	origin, err := joblog.OriginOf(cfg)
//	…
//	j, err := joblog.Open(joblog.Config{Path: "run.joblog", Origin: origin, Resume: true})
//	…
//	for result, err := range j.Stream(ctx, pool, items) { // as Stream of a pool
//		…
//	}
//	err = j.Close()
//
// A result is yielded only after its record has been written: if the program ends, for any reason, no result that it has seen is lost. The file is
// synced once per second and by Close: if the machine crashes, at most the last second is lost.
//
// An item is identified by its text and by how many equal items came before it, not by its index. Results are read back from the file. The journal
// takes about 50 bytes of memory for each item that it held when it was opened (up to 135 bytes while it reads more than a million), and a few MiB
// for items in progress.
//
// docs/JOBLOG.md describes the format and the promises.
package joblog
