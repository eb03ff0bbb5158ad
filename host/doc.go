// Package host runs items on pools of workers.
//
// A pool has one workload and many workers: plugin processes ([ModeProcess]), goroutines ([ModeGoroutine]), or one goroutine
// ([ModeSequential]). The results, the errors and the events are the same in every mode.
//
//	pool, err := host.OpenWorkload(ctx, sqrt.Workload, host.Config{Workers: 8}) // linked in, so its types are known; main begins with sdk.ServeChild
//	if err != nil {
//		return err
//	}
//	defer pool.Close()
//	roots, err := pool.Map(ctx, []float64{1, 4, 9})
//
// A plugin is an executable, so its pool gets the types of items and results from [Bind]:
//
//	pool, err := host.Open(ctx, host.Config{Plugin: "./parhost-plugin-sqrt", Workers: 8})
//	…
//	sqrt, err := host.Bind[float64, float64](pool)
//	…
//	roots, err := sqrt.Map(ctx, []float64{1, 4, 9})
//
// Do runs one item, and Map a slice of items. Stream and Unordered run any number of items. Start runs one item and returns a handle to wait for it or cancel
// it. [NewBuffer] makes memory in which large items can be built, so that they do not have to be copied to processes.
//
// The life of a worker process:
//
//	exec ─ handshake ─ dial ─ describe ─ set-up ─ idle ⇄ lent ─ retired ─ gone
//	                                                └─ died: blame, kill the group, reap, start another
//
// The package reads no files of items and prints nothing; command parhost does. But gRPC has a log, which belongs to the whole program: on stderr it reports
// every problem with a connection, and a plugin can cause such problems without end. If a program runs plugins that it does not trust, or uses stderr only for
// itself, it calls google.golang.org/grpc/grpclog.SetLoggerV2 at the beginning of its main, as the command does.
package host
