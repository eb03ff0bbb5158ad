package reduce

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
)

// integer reads a whole number of any size from a JSON number without fraction and exponent, or from a JSON string of digits.
// A string is for writers whose JSON library would round a long number.
func integer(name string, data []byte) (*big.Int, error) {
	text := string(data)
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(data, &text); err != nil {
			return nil, err
		}
	}
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return nil, fmt.Errorf("%s is %s, want an integer such as 15 or \"15\"", name, abbreviate(string(data)))
	}
	z := parse(digits, powers{})
	if len(digits) < len(text) {
		z.Neg(z)
	}
	return z, nil
}

// abbreviate cuts a long text for an error message.
func abbreviate(text string) string {
	const limit = 40
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// chunk is how many digits are left to math/big at once: its own reading of digits is quadratic, and good at this length.
const chunk = 2048

// parse returns the number that the digits spell. It halves them, so that the time is that of a few multiplications: four million
// digits take one second instead of twenty.
func parse(digits string, tens powers) *big.Int {
	if len(digits) <= chunk {
		z, _ := new(big.Int).SetString(digits, 10) // cannot go wrong: integer has seen that these are digits
		return z
	}
	low := chunk
	for 2*low < len(digits) {
		low *= 2
	}
	middle := len(digits) - low
	z := parse(digits[:middle], tens)
	z.Mul(z, tens.of(low))
	return z.Add(z, parse(digits[middle:], tens))
}

// powers remembers 10ⁿ for every n that was asked for: chunk times a power of two.
type powers map[int]*big.Int

func (p powers) of(n int) *big.Int {
	if z, ok := p[n]; ok {
		return z
	}
	z := new(big.Int)
	if n <= chunk {
		z.Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
	} else {
		half := p.of(n / 2)
		z.Mul(half, half)
	}
	p[n] = z
	return z
}
