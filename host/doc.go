// Package host runs items on pools of workers.
//
// A pool has one workload and many workers: plugin processes ([Process]), goroutines ([Goroutine]) or the caller alone
// ([Sequential]). The results, the errors and the events are the same in every mode.
//
//	pool, err := host.Open(ctx, host.Config{Plugin: "./parhost-plugin-sqrt", Workers: 8})
//	if err != nil {
//		return err
//	}
//	defer pool.Close()
//	roots, err := host.Map[float64, float64](ctx, pool, []float64{1, 4, 9})
//
// [Do] runs one item, [Map] a slice, [Stream] and [Unordered] as many as come, [Start] one with a handle to wait for or cancel.
// [NewBuffer] makes memory in which large items can be built, so that they need not be brought to processes.
//
// The life of a worker process:
//
//	exec ─ handshake ─ dial ─ describe ─ set-up ─ idle ⇄ lent ─ retired ─ gone
//	                                                └─ died: blame, kill the group, reap, start another
//
// The package reads no files of items and prints nothing; command parhost does. But gRPC has a log of its own, which belongs to the whole program: it says
// on stderr what it finds wrong with a connection, and a plugin may be wrong without end. A program that runs plugins which it does not
// trust, or that wants its stderr for itself, calls google.golang.org/grpc/grpclog.SetLoggerV2 at the beginning of its main, as the command does.
package host
