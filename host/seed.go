package host

import (
	"context"
	"math/rand/v2"
)

// seed is what the items of a run draw their random numbers by.
type seed struct {
	number uint64
	index  func(i int) int // the index that item i of the run draws by; nil for i itself
}

type (
	seedKey  struct{}
	indexKey struct{}
)

// WithSeed gives the run that gets the context a seed: two runs with the same seed and the same items draw the same random numbers, if
// their workloads draw them from sdk.Rand. A run of a context without one draws a seed of its own.
//
// [Do] and [Start] run one item, with the index 0: with the same seed all items that they run draw the same numbers.
func WithSeed(ctx context.Context, seed uint64) context.Context {
	return context.WithValue(ctx, seedKey{}, seed)
}

// WithIndex says which index the items of a run draw by, for a run of some items of a larger input: item i of the run draws what item
// index(i) of the input draws. index is called from several goroutines. On a context that has an index, it is a part of that part.
func WithIndex(ctx context.Context, index func(i int) int) context.Context {
	if outer := seedOf(ctx).index; outer != nil {
		inner := index
		index = func(i int) int { return outer(inner(i)) }
	}
	return context.WithValue(ctx, indexKey{}, index)
}

// seedOf returns the seed of a run with the context, drawn if it has none.
func seedOf(ctx context.Context) seed {
	number, given := ctx.Value(seedKey{}).(uint64)
	if !given {
		number = rand.Uint64()
	}
	index, _ := ctx.Value(indexKey{}).(func(int) int)
	return seed{number, index}
}

// indexes returns what n items of the run, from the first one on, draw by: nil for their own indexes.
func (s *seed) indexes(first, n int) []uint64 {
	if s.index == nil {
		return nil
	}
	list := make([]uint64, n)
	for k := range list {
		list[k] = uint64(s.index(first + k))
	}
	return list
}
