package reduce

import (
	"errors"
	"fmt"
	"math"
	"math/big"
)

// Item says which integers to reduce and how. The integers are either Number random ones, or Values.
//
// In JSON, field names are in lower case, and null means the same as a missing field. Integers may have any size and may also be written as strings
// of digits.
type Item struct {
	// Number is how many different integers to draw, from 0 to [MaxNumber] and at most Range.
	Number *int `json:"number,omitempty"`

	// Range is the exclusive upper limit of the drawn integers, which are from 0 to Range-1. Nil means [DefaultRange]. It is only allowed together
	// with Number.
	Range *int64 `json:"range,omitempty"`

	// Seed makes the draw equal to Python's after random.seed(Seed). Nil takes a seed from [sdk.Rand]: a different one for each item and run, but the
	// same in every mode and attempt. It is only allowed together with Number.
	Seed *big.Int `json:"seed,omitempty"`

	// Values are the integers. An empty list is an empty sequence; nil means that Number is used instead.
	Values []*big.Int `json:"values,omitzero"`

	// Op is the operation. Empty means [Mul].
	Op Op `json:"op,omitempty"`

	// Initial precedes the sequence. Nil means none.
	Initial *big.Int `json:"initial,omitempty"`

	// Method is how the result is computed; it does not change the result. Empty means the faster method: [ByTree] for mul and lcm, [FromLeft] for
	// the others.
	Method Method `json:"method,omitempty"`
}

const (
	// DefaultRange is the range of an item without Range.
	DefaultRange = 1_000_000

	// MaxNumber is the largest Number of an item; so many integers take about a gigabyte. Values has no such limit.
	MaxNumber = 10_000_000
)

// Method names a way to reduce a sequence.
type Method string

// The methods.
const (
	FromLeft Method = "left" // as [Fold] does
	ByTree   Method = "tree" // as [Tree] does
)

// Schema is the JSON Schema of an [Item].
const Schema = `{
  "type": "object",
  "properties": {
    "number": {"type": "integer", "minimum": 0, "maximum": 10000000, "description": "how many different integers to draw"},
    "range": {"type": "integer", "minimum": 0, "default": 1000000, "description": "draw from 0 to range-1"},
    "seed": {"type": ["integer", "string"], "pattern": "^-?[0-9]+$", "description": "draw what Python's random draws with this seed"},
    "values": {"type": "array", "items": {"type": ["integer", "string"], "pattern": "^-?[0-9]+$"}, "description": "the integers"},
    "op": {"enum": ["add", "mul", "min", "max", "gcd", "lcm", "and", "or", "xor"], "default": "mul"},
    "initial": {"type": ["integer", "string"], "pattern": "^-?[0-9]+$", "description": "stands before the sequence"},
    "method": {"enum": ["left", "tree"], "description": "the way to the result; the faster one if left out"}
  },
  "oneOf": [{"required": ["number"]}, {"required": ["values"]}],
  "additionalProperties": false
}`

// check returns an error if the fields of the item do not fit together.
func (it Item) check() error {
	switch {
	case it.Number == nil && it.Values == nil:
		return errors.New(`neither number nor values is given, write {"number":5} to draw numbers or {"values":[1,2,3]} to name them`)
	case it.Number != nil && it.Values != nil:
		return errors.New(`both number and values are given, write {"number":5} to draw numbers or {"values":[1,2,3]} to name them`)
	case it.Values != nil && it.Range != nil:
		return errors.New("range is given beside values, it belongs to number")
	case it.Values != nil && it.Seed != nil:
		return errors.New("seed is given beside values, it belongs to number")
	case it.Method != "" && it.Method != FromLeft && it.Method != ByTree:
		return fmt.Errorf("method is %q, want left or tree", abbreviate(string(it.Method)))
	case it.Number == nil:
		return nil
	}
	if err := within("number", big.NewInt(int64(*it.Number)), MaxNumber); err != nil {
		return err
	}
	limit := it.limit()
	if err := within("range", big.NewInt(limit), math.MaxInt64); err != nil {
		return err
	}
	if int64(*it.Number) > limit {
		return fmt.Errorf("number is %d, the limit is %d: no more different numbers are in range(%d)", *it.Number, limit, limit)
	}
	return nil
}

// limit returns the exclusive upper limit of the drawn integers.
func (it Item) limit() int64 {
	if it.Range == nil {
		return DefaultRange
	}
	return *it.Range
}

// within returns an error unless v is from 0 to limit.
func within(name string, v *big.Int, limit int64) error {
	if v.Sign() < 0 || v.Cmp(big.NewInt(limit)) > 0 {
		return fmt.Errorf("%s is %s, want 0 to %d", name, abbreviate(v.String()), limit)
	}
	return nil
}
