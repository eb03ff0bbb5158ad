package reduce

import (
	"math/big"
	"testing"
)

// The plain loop is the definition of the result. Fold and Tree must both agree with it, with and without shortcuts.
func TestFoldAndTreeEqualThePlainLoop(t *testing.T) {
	rng := seeded(big.NewInt(1))
	for range 200 {
		values := make([]*big.Int, 1+rng.below(300))
		for i := range values {
			values[i] = new(big.Int).SetUint64(1 + rng.bits(1+int(rng.below(63))))
			if rng.below(8) == 0 {
				values[i].Neg(values[i])
			}
			if rng.below(16) == 0 {
				values[i].Lsh(values[i], uint(rng.below(3000)))
			}
		}
		for op, rule := range rules {
			want := new(big.Int).Set(values[0])
			for _, v := range values[1:] {
				next := new(big.Int)
				rule.apply(next, want, v)
				want = next
			}
			for method, reduce := range ways {
				got, err := reduce(t.Context(), op, values, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got.Cmp(want) != 0 {
					t.Fatalf("%s of %d numbers by %s: got %.60s, want %.60s", op, len(values), method, got, want)
				}
			}
		}
	}
}
