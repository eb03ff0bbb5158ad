package reduce

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/bits"
)

// ErrEmpty is the error for a sequence without numbers and without an initial value. Python raises a TypeError with the same words.
var ErrEmpty = errors.New("reduce of empty sequence with no initial value")

// Fold applies op to the numbers from left to right, as functools.reduce does: ((initial∘v₀)∘v₁)∘v₂ and so on.
//
// initial may be nil: then the first number takes its place, and a single number is returned as it is. The numbers are not changed, and the result
// shares no memory with them.
//
// Two shortcuts save time and do not change the result, because the operations are associative: consecutive factors are multiplied within one machine
// word while they fit, and a number that alone decides the result (a zero in a product) ends the fold at once.
//
// The error matches [ErrEmpty] if there is no number at all, and the context's cause if ctx ends first. Fold checks ctx about once per million words
// of work; it never interrupts a single operation.
func Fold(ctx context.Context, op Op, values []*big.Int, initial *big.Int) (*big.Int, error) {
	r, values, err := prepare(op, values, initial)
	if err != nil {
		return nil, err
	}
	return r.fold(ctx, values)
}

// prepare puts initial before the numbers and checks them all. If one number alone decides the result, prepare returns only that number.
func prepare(op Op, values []*big.Int, initial *big.Int) (rule, []*big.Int, error) {
	r, err := op.rule()
	if err != nil {
		return rule{}, nil, err
	}
	if initial != nil {
		values = append([]*big.Int{initial}, values...)
	}
	if len(values) == 0 {
		return rule{}, nil, ErrEmpty
	}
	decided := values
	for i, v := range values {
		if v == nil {
			return rule{}, nil, fmt.Errorf("number %d of the sequence is nil", i)
		}
		if r.absorbing != nil && v.Cmp(r.absorbing) == 0 {
			decided = values[i : i+1]
		}
	}
	return r, decided, nil
}

// fold folds values from the left. There must be at least one.
func (r rule) fold(ctx context.Context, values []*big.Int) (*big.Int, error) {
	acc := r.room(values).Set(values[0])
	next := new(big.Int) // product (or the like) of consecutive short numbers, within one machine word
	gathered := false
	budget := 0
	for _, v := range values[1:] {
		if budget <= 0 {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			budget = lookEvery
		}
		short := r.word != nil && v.IsUint64()
		if short && gathered {
			if both, ok := r.word(next.Uint64(), v.Uint64()); ok {
				next.SetUint64(both)
				budget--
				continue
			}
		}
		if gathered {
			budget -= len(acc.Bits()) + 1
			r.apply(acc, acc, next)
		}
		if gathered = short; short {
			next.Set(v)
			continue
		}
		budget -= len(acc.Bits())*max(1, len(v.Bits())) + 1
		r.apply(acc, acc, v)
	}
	if gathered {
		r.apply(acc, acc, next)
	}
	return acc, nil
}

// lookEvery is how many words a fold may process before it checks its context: about a millisecond of work.
const lookEvery = 1 << 20

// room returns a zero with enough memory for the result, so that multiplying in place never reallocates.
func (r rule) room(values []*big.Int) *big.Int {
	acc := new(big.Int)
	if !r.grows {
		return acc
	}
	total := 0
	for _, v := range values {
		total += v.BitLen()
	}
	return acc.SetBits(make([]big.Word, 0, total/bits.UintSize+2))
}
