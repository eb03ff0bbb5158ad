package host

import (
	"context"
	"maps"

	"github.com/parhost/parhost/internal/wire"
)

type metadataKey struct{}

// WithMetadata returns a context whose runs ([Map], [Stream], [Do] and the others) tell their workload metadata: a trace, a tenant. The
// workload reads it with sdk.Metadata, in each mode. It is added to what ctx has, and replaces values of the same key.
//
// All of it together is at most 64 pairs and 8 KiB, in UTF-8, without empty keys; a run with anything else ends with an error at once. It
// travels with each batch.
//
// Other values of a context never reach a workload, in no mode. The context's deadline does.
func WithMetadata(ctx context.Context, metadata map[string]string) context.Context {
	all := maps.Clone(metadataOf(ctx))
	if all == nil {
		all = make(map[string]string, len(metadata))
	}
	maps.Copy(all, metadata)
	return context.WithValue(ctx, metadataKey{}, all)
}

// metadataOf returns the metadata of a context, nil if it has none. Nobody changes it.
func metadataOf(ctx context.Context) map[string]string {
	metadata, _ := ctx.Value(metadataKey{}).(map[string]string)
	return metadata
}

// bare is the context of a workload on a goroutine: it ends as the caller's does, but has none of its values, as in a process.
type bare struct {
	context.Context
	pool  *Pool // whose items see it; nil for a set-up or teardown
	outer *bare // of the item that has begun the run; nil if none has
}

// insideKey is the key by which a run finds the item that has begun it.
type insideKey struct{}

// checkNested refuses a run that an item of the same pool has begun: each may wait for the other. Processes have no way to their host's pool.
func (r *run[In, Out]) checkNested(ctx context.Context) {
	r.base.pool = r.pool
	r.base.outer, _ = ctx.Value(insideKey{}).(*bare)
	for item := r.base.outer; item != nil; item = item.outer {
		if item.pool == r.pool {
			r.refuse(ErrNested)
		}
	}
}

// Value hides the caller's values, but not the standard library's own: contexts find the one above them so. Without that each would
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

// checkMetadata refuses metadata beyond the bounds.
func (r *run[In, Out]) checkMetadata() {
	if r.metadata == nil {
		return
	}
	if err := wire.CheckMetadata(r.metadata); err != nil {
		r.refuse(err)
	}
}
