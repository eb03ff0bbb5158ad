package host

import (
	"context"
	"maps"

	"github.com/parhost/parhost/internal/wire"
)

type metadataKey struct{}

// WithMetadata returns a context that carries metadata, such as a trace or a tenant, to the workload of each run ([Typed.Map], [Typed.Stream], [Typed.Do] and the others) that
// gets it. The workload reads it with sdk.Metadata, in each mode. WithMetadata adds to the metadata that ctx already has, and replaces values of the same key.
//
// All metadata together has at most 64 pairs and 8 KiB, in UTF-8, without empty keys. A run with other metadata ends with an error at once. Each batch carries
// a copy.
//
// Other values of a context never reach a workload, in any mode. The context's deadline does.
func WithMetadata(ctx context.Context, metadata map[string]string) context.Context {
	all := maps.Clone(metadataOf(ctx))
	if all == nil {
		all = make(map[string]string, len(metadata))
	}
	maps.Copy(all, metadata)
	return context.WithValue(ctx, metadataKey{}, all)
}

// Metadata returns a copy of the metadata that [WithMetadata] has put into ctx.
func Metadata(ctx context.Context) map[string]string { return maps.Clone(metadataOf(ctx)) }

// metadataOf returns the metadata of a context, nil if it has none. The map must not be changed.
func metadataOf(ctx context.Context) map[string]string {
	metadata, _ := ctx.Value(metadataKey{}).(map[string]string)
	return metadata
}

// bare is the context of a workload on a goroutine. It ends when the caller's context ends, but has none of its values, just as in a process.
type bare struct {
	context.Context
	pool  *Pool // the pool whose items get this context; nil for a set-up or teardown
	outer *bare // context of the item that started the run; nil if no item did
}

// insideKey is the key by which a run finds the context of the item that started it.
type insideKey struct{}

// checkNested refuses a run that an item of the same pool has started, because each may wait for the other. Items in processes cannot reach their host's pool.
func (r *run[In, Out]) checkNested(ctx context.Context) {
	r.base.pool = r.pool
	r.base.outer, _ = ctx.Value(insideKey{}).(*bare)
	for item := r.base.outer; item != nil; item = item.outer {
		if item.pool == r.pool {
			r.refuse(ErrNested)
		}
	}
}

// Value hides the caller's values, but not the internal ones of package context, by which a context finds its parent. Without them each derived context would
// cost a goroutine.
func (b *bare) Value(key any) any {
	if key == (insideKey{}) {
		return b
	}
	if above, ok := b.Context.Value(key).(context.Context); ok && above.Done() == b.Done() {
		return above
	}
	return nil
}

// checkMetadata refuses the run if its metadata exceeds the bounds.
func (r *run[In, Out]) checkMetadata() {
	if r.metadata == nil {
		return
	}
	if err := wire.CheckMetadata(r.metadata); err != nil {
		r.refuse(err)
	}
}
