package host

import (
	"context"
	"math/rand/v2"
)

// seed determines the random numbers that the items of a run draw.
type seed struct {
	number uint64
	index  func(i int) int // index by which item i of the run draws; nil means i itself
}

type (
	seedKey  struct{}
	indexKey struct{}
)

// WithSeed gives a seed to each run that gets the context. Two runs with the same seed and the same items draw the same random numbers, if their workloads draw
// them from sdk.Rand. A run whose context has no seed draws a seed.
//
// [Typed.Do] and [Typed.Start] run one item, with the index 0. So all items that they run with the same seed draw the same numbers.
func WithSeed(ctx context.Context, seed uint64) context.Context {
	return context.WithValue(ctx, seedKey{}, seed)
}

// WithIndex is for a run of some items of a larger input. Item i of the run draws the random numbers that item index(i) of the input draws, and events name it
// by that place. index is called from several goroutines, and must not use the pool. If ctx already has an index function, the two are composed: the new one
// maps to items of the outer run.
func WithIndex(ctx context.Context, index func(i int) int) context.Context {
	if outer := seedOf(ctx).index; outer != nil {
		inner := index
		index = func(i int) int { return outer(inner(i)) }
	}
	return context.WithValue(ctx, indexKey{}, index)
}

// seedOf returns the seed of a run with the context. It draws one if the context has none.
func seedOf(ctx context.Context) seed {
	number, given := ctx.Value(seedKey{}).(uint64)
	if !given {
		number = rand.Uint64()
	}
	index, _ := ctx.Value(indexKey{}).(func(int) int)
	return seed{number, index}
}

// place returns the place in the input of item i of the run.
func (s *seed) place(i int) int {
	if s.index == nil {
		return i
	}
	return s.index(i)
}

// indexes returns the indexes by which n items of the run draw random numbers, beginning with item first. The seed must have an index function.
func (s *seed) indexes(first, n int) []uint64 {
	list := make([]uint64, n)
	for k := range list {
		list[k] = uint64(s.index(first + k))
	}
	return list
}
