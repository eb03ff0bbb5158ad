package reduce

import (
	"context"
	"math/big"

	"github.com/parhost/parhost/sdk"
)

// Run reduces one item and returns the result in decimal digits, with a minus sign if it is negative.
//
// The result is a string, because every JSON library keeps its digits; a number of 300 000 digits would lose some. Writing the digits takes about as
// long as multiplying: math/big halves the number, as [Tree] does (Brent and Zimmermann, Modern Computer Arithmetic, section 1.7.2), so the time
// grows with the length to the power of 1.6, not 2.
//
// The error says which field of the item to change. It matches [ErrEmpty] if there is nothing to reduce, and the context's cause if ctx ends first.
// Run checks ctx about once per millisecond while it draws and folds numbers (see [Tree] for an exception), and once before it writes the digits.
// Writing cannot be interrupted: it takes 25 ms for 300 000 digits, and seconds for millions.
func Run(ctx context.Context, item Item) (string, error) {
	result, err := item.reduce(ctx)
	if err != nil {
		return "", err
	}
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	return result.String(), nil
}

// reduce returns the result of the item as a number.
func (it Item) reduce(ctx context.Context) (*big.Int, error) {
	if err := it.check(); err != nil {
		return nil, err
	}
	op := it.Op
	if op == "" {
		op = Mul
	}
	rule, err := op.rule()
	if err != nil {
		return nil, err
	}
	values := it.Values
	if it.Number != nil {
		if values, err = it.draw(ctx); err != nil {
			return nil, err
		}
	}
	if it.Method == ByTree || it.Method == "" && rule.grows {
		return Tree(ctx, op, values, it.Initial)
	}
	return Fold(ctx, op, values, it.Initial)
}

// draw draws the random numbers of an item with Number.
func (it Item) draw(ctx context.Context) ([]*big.Int, error) {
	seed := it.Seed
	if seed == nil {
		seed = new(big.Int).SetUint64(sdk.Rand(ctx).Uint64())
	}
	return sample(ctx, seeded(seed), it.limit(), *it.Number)
}
