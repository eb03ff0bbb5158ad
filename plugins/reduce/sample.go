package reduce

import (
	"context"
	"math/big"
	"math/bits"
)

// sample draws number different integers from 0 to limit-1, in the order of random.sample(range(limit), number).
//
// number must be from 0 to min(limit, MaxNumber).
//
// The two algorithms, the rule that chooses between them, and the way to draw a number below a limit are those of CPython 3.11 (Lib/random.py: sample
// and _randbelow_with_getrandbits). Any other choice would draw other numbers from the same seed.
//
// The error is the context's cause if ctx ends first. sample checks ctx once every 65536 draws.
func sample(ctx context.Context, rng *twister, limit int64, number int) ([]*big.Int, error) {
	drawn := integers(number)
	var draw func() uint64
	if limit <= int64(poolLimit(number)) {
		draw = fromPool(rng, int(limit))
	} else {
		draw = fromRange(rng, uint64(limit), number)
	}
	for i, v := range drawn {
		if i%65536 == 0 {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
		}
		v.SetUint64(draw())
	}
	return drawn, nil
}

// poolLimit returns the longest range for which sample draws from a pool. CPython uses a pool where a list of the range is smaller than a set of the
// sample: 21 + 4 ** ceil(log(number*3, 4)).
func poolLimit(number int) int {
	size := 21
	if number > 5 {
		table := 1
		for table < 3*number {
			table *= 4
		}
		size += table
	}
	return size
}

// fromPool returns a function that draws from a list of the numbers that are left. It fills each gap with the last number of the list.
func fromPool(rng *twister, limit int) func() uint64 {
	pool := make([]uint32, limit)
	for i := range pool {
		pool[i] = uint32(i)
	}
	return func() uint64 {
		last := len(pool) - 1
		j := rng.below(uint64(len(pool)))
		v := pool[j]
		pool[j] = pool[last]
		pool = pool[:last]
		return uint64(v)
	}
}

// fromRange returns a function that draws from the whole range, and draws again if the number was drawn before.
func fromRange(rng *twister, limit uint64, number int) func() uint64 {
	seen := newSet(number)
	return func() uint64 {
		v := rng.below(limit)
		for !seen.add(v) {
			v = rng.below(limit)
		}
		return v
	}
}

// below returns a random number from 0 to limit-1. limit must be at least 1.
func (t *twister) below(limit uint64) uint64 {
	n := bits.Len64(limit)
	v := t.bits(n)
	for v >= limit {
		v = t.bits(n)
	}
	return v
}

// set is a hash table of numbers with linear probing, at most half full. It is about five times faster than a map here.
type set struct {
	slots []uint64 // number + 1; 0 is a free slot
	shift int
}

func newSet(number int) set {
	log := bits.Len(uint(2*number + 1))
	return set{slots: make([]uint64, 1<<log), shift: 64 - log}
}

// add adds v, which must be below 1<<64 - 1, and reports whether it was new.
func (s set) add(v uint64) bool {
	mask := uint64(len(s.slots) - 1)
	for i := v * 0x9e3779b97f4a7c15 >> s.shift; ; i = (i + 1) & mask { // Fibonacci hashing: Knuth, TAOCP 3, section 6.4
		switch s.slots[i] {
		case 0:
			s.slots[i] = v + 1
			return true
		case v + 1:
			return false
		}
	}
}

// integers returns n zeros with room for 64 bits each. It needs three allocations instead of 2n.
func integers(n int) []*big.Int {
	const words = 64 / bits.UintSize
	memory := make([]big.Word, words*n)
	numbers := make([]big.Int, n)
	all := make([]*big.Int, n)
	for i := range all {
		all[i] = numbers[i].SetBits(memory[words*i : words*i : words*(i+1)])
	}
	return all
}
