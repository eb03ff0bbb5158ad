package reduce

import (
	"errors"
	"fmt"
	"math"
	"math/big"
)

// Item says which integers to reduce, and how: either Number of them, drawn at random, or Values.
//
// In JSON the fields have their names in lower case, and null is the same as a field left out. Integers may have any size and may
// also be written as strings of digits.
type Item struct {
	// Number is how many different integers to draw, from 0 to [MaxNumber] and not more than Range.
	Number *int `json:"number,omitempty"`

	// Range is the first integer that is not drawn: they are from 0 to Range-1. Nil means [DefaultRange]. It stands beside Number
	// only.
	Range *int64 `json:"range,omitempty"`

	// Seed makes the draw the one that Python makes after random.seed(Seed). Nil takes a seed from [sdk.Rand]: another one
	// for each item and each run, the same in every mode and attempt. It stands beside Number only.
	Seed *big.Int `json:"seed,omitempty"`

	// Values are the integers themselves. An empty list is a sequence without numbers; nil is no sequence.
	Values []*big.Int `json:"values,omitzero"`

	// Op is the operation. Empty means [Mul].
	Op Op `json:"op,omitempty"`

	// Initial stands before the sequence. Nil means that there is none.
	Initial *big.Int `json:"initial,omitempty"`

	// Method is the way to the result, not the result. Empty means the faster one: [ByTree] for mul and lcm, [FromLeft] for the others.
	Method Method `json:"method,omitempty"`
}

const (
	// DefaultRange is the range of an item that names none.
	DefaultRange = 1_000_000

	// MaxNumber is the most integers that an item may draw; they take about a gigabyte. Values have no such limit.
	MaxNumber = 10_000_000
)

// Method names a way to reduce a sequence.
type Method string

// The methods.
const (
	FromLeft Method = "left" // [Fold]
	ByTree   Method = "tree" // [Tree]
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

// check says what is wrong with an item as a whole.
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

// limit is the first integer that is not drawn.
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
