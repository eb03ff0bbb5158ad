package reduce

import (
	"fmt"
	"math/big"
	"math/bits"
	"slices"
)

// Op names an associative operation on two integers.
type Op string

// The operations, each with the Python function whose results it has.
const (
	Add Op = "add" // operator.add
	Mul Op = "mul" // operator.mul
	Min Op = "min" // min
	Max Op = "max" // max
	GCD Op = "gcd" // math.gcd: never negative; gcd(0, 0) is 0
	LCM Op = "lcm" // math.lcm: never negative; 0 if one number is 0
	And Op = "and" // operator.and_, two's complement
	Or  Op = "or"  // operator.or_, two's complement
	Xor Op = "xor" // operator.xor, two's complement
)

// rule holds what a fold must know about an operation.
type rule struct {
	// apply sets z to x∘y. z may be x.
	apply func(z, x, y *big.Int)

	// word returns x∘y for numbers of one machine word, and false if the result does not fit into one. It is nil if apply is just as fast.
	word func(x, y uint64) (uint64, bool)

	// absorbing is a number that makes itself the result of any sequence that contains it; nil if there is none.
	absorbing *big.Int

	// grows says that a result has about as many bits as both operands together. Then a balanced tree is faster than a fold from the left.
	grows bool
}

var rules = map[Op]rule{
	Add: {apply: func(z, x, y *big.Int) { z.Add(x, y) }},
	Mul: {apply: func(z, x, y *big.Int) { z.Mul(x, y) }, word: mulWord, absorbing: big.NewInt(0), grows: true},
	Min: {apply: func(z, x, y *big.Int) { z.Set(lesser(x, y)) }},
	Max: {apply: func(z, x, y *big.Int) { z.Set(greater(x, y)) }},
	GCD: {apply: func(z, x, y *big.Int) { z.GCD(nil, nil, x, y) }, word: gcdWord, absorbing: big.NewInt(1)},
	LCM: {apply: lcm, word: lcmWord, absorbing: big.NewInt(0), grows: true},
	And: {apply: func(z, x, y *big.Int) { z.And(x, y) }, absorbing: big.NewInt(0)},
	Or:  {apply: func(z, x, y *big.Int) { z.Or(x, y) }, absorbing: big.NewInt(-1)},
	Xor: {apply: func(z, x, y *big.Int) { z.Xor(x, y) }},
}

// rule returns the rule of op.
func (op Op) rule() (rule, error) {
	r, ok := rules[op]
	if !ok {
		return rule{}, fmt.Errorf("op is %q, want add, mul, min, max, gcd, lcm, and, or or xor", abbreviate(string(op)))
	}
	return r, nil
}

func lesser(x, y *big.Int) *big.Int {
	if y.Cmp(x) < 0 {
		return y
	}
	return x
}

func greater(x, y *big.Int) *big.Int {
	if y.Cmp(x) > 0 {
		return y
	}
	return x
}

// lcm sets z to |x·y| / gcd(x, y), or to 0 if one of them is 0. It divides the shorter number, so that in a fold over many short numbers the long one
// is only multiplied.
func lcm(z, x, y *big.Int) {
	if x.Sign() == 0 || y.Sign() == 0 {
		z.SetInt64(0)
		return
	}
	long, short := x, y
	if long.CmpAbs(short) < 0 {
		long, short = short, long
	}
	g := new(big.Int)
	if b := short.Bits(); len(b) == 1 {
		g.SetUint64(gcd(uint64(b[0]), uint64(mod(long, uint(b[0])))))
	} else {
		g.GCD(nil, nil, long, short)
	}
	z.Mul(long, g.Quo(short, g))
	z.Abs(z)
}

// mod returns |x| mod m. It computes no quotient, so it is three times faster than big.Int.Rem.
func mod(x *big.Int, m uint) uint {
	var rest uint
	for _, word := range slices.Backward(x.Bits()) {
		_, rest = bits.Div(rest, uint(word), m)
	}
	return rest
}

func gcd(x, y uint64) uint64 {
	for y != 0 {
		x, y = y, x%y
	}
	return x
}

func gcdWord(x, y uint64) (uint64, bool) {
	return gcd(x, y), true
}

func lcmWord(x, y uint64) (uint64, bool) {
	if x == 0 || y == 0 {
		return 0, true
	}
	return mulWord(x, y/gcd(x, y))
}

func mulWord(x, y uint64) (uint64, bool) {
	hi, lo := bits.Mul64(x, y)
	return lo, hi == 0
}
