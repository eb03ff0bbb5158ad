package reduce

import (
	"encoding/binary"
	"math/big"
)

// twister is the Mersenne Twister MT19937, the generator of Python's random module. It is not cryptographically secure.
//
// Source: Matsumoto and Nishimura, Mersenne Twister: A 623-dimensionally equidistributed uniform pseudo-random number generator, ACM TOMACS 8 (1998),
// p. 3–30. The seeding by an array is the one that they published in 2002 (mt19937ar.c) and that CPython uses (Modules/_randommodule.c).
type twister struct {
	state [stateWords]uint32
	used  int // words of state that have been returned
}

const (
	stateWords = 624
	shiftWords = 397
)

// seeded returns the generator in the state after random.seed(seed): the sign of the seed is ignored, and all its bits are used.
func seeded(seed *big.Int) *twister {
	bytes := make([]byte, (seed.BitLen()+31)/32*4)
	seed.FillBytes(bytes)
	key := make([]uint32, 0, len(bytes)/4+1)
	for i := len(bytes); i > 0; i -= 4 {
		key = append(key, binary.BigEndian.Uint32(bytes[i-4:]))
	}
	if len(key) == 0 {
		key = append(key, 0)
	}
	return newTwister(key)
}

// newTwister is init_by_array of mt19937ar.c. key must hold at least one word.
func newTwister(key []uint32) *twister {
	t := &twister{used: stateWords}
	s := &t.state
	s[0] = 19650218
	for i := 1; i < stateWords; i++ {
		s[i] = 1812433253*(s[i-1]^s[i-1]>>30) + uint32(i)
	}
	i, j := 1, 0
	for range max(stateWords, len(key)) {
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1664525) + key[j] + uint32(j)
		if i++; i == stateWords {
			s[0], i = s[stateWords-1], 1
		}
		if j++; j == len(key) {
			j = 0
		}
	}
	for range stateWords - 1 {
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1566083941) - uint32(i)
		if i++; i == stateWords {
			s[0], i = s[stateWords-1], 1
		}
	}
	s[0] = 1 << 31
	return t
}

// next returns 32 random bits. It is genrand_int32 of mt19937ar.c.
func (t *twister) next() uint32 {
	if t.used == stateWords {
		t.refill()
	}
	y := t.state[t.used]
	t.used++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// refill computes the next 624 words of state.
func (t *twister) refill() {
	s := &t.state
	for i := range s {
		y := s[i]&(1<<31) | s[(i+1)%stateWords]&(1<<31-1)
		s[i] = s[(i+shiftWords)%stateWords] ^ y>>1 ^ -(y&1)&0x9908b0df
	}
	t.used = 0
}

// bits returns n random bits, with n from 1 to 64. It is getrandbits of CPython, which draws the low word first and takes the high bits of the last
// word.
func (t *twister) bits(n int) uint64 {
	if n <= 32 {
		return uint64(t.next() >> (32 - n))
	}
	low := uint64(t.next())
	return uint64(t.next()>>(64-n))<<32 | low
}
