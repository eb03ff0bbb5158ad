package reduce

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
)

// integer reads an integer of any size from a JSON number without fraction and exponent, or from a JSON string of digits. Strings are allowed for
// writers whose JSON library would round a long number. name is the field for the error.
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

// abbreviate shortens a long text for an error message.
func abbreviate(text string) string {
	const limit = 40
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// chunk is how many digits parse passes to math/big at once: its conversion is quadratic, but fast at this length.
const chunk = 2048

// parse returns the number with the given digits. It splits the digits in halves, so that it takes as long as a few multiplications: four million
// digits take one second instead of twenty. tens caches powers of ten.
func parse(digits string, tens powers) *big.Int {
	if len(digits) <= chunk {
		z, _ := new(big.Int).SetString(digits, 10) // cannot fail: integer has checked the digits
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

// powers caches 10ⁿ for each n that was requested. n is chunk times a power of two.
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
