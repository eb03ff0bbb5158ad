package reduce

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
)

// UnmarshalJSON reads an item. It checks each field separately; [Run] checks whether the fields fit together.
//
// The error names the field, its value and what is allowed. Unknown fields are errors, because a misspelt field would otherwise silently change the
// result.
func (it *Item) UnmarshalJSON(data []byte) error {
	if !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		return fmt.Errorf(`item is %s, want an object such as {"number":5} or {"values":[1,2,3]}`, abbreviate(string(data)))
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	var read Item
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		set, known := setters[name]
		if !known {
			return fmt.Errorf("field %q is unknown, want number, range, seed, values, op, initial or method", abbreviate(name))
		}
		if string(fields[name]) == "null" {
			continue
		}
		if err := set(&read, fields[name]); err != nil {
			return err
		}
	}
	*it = read
	return nil
}

// setters holds a function for each field that reads its value. The value is never null.
var setters = map[string]func(it *Item, data []byte) error{
	"number": func(it *Item, data []byte) error {
		v, err := count("number", data, MaxNumber)
		number := int(v)
		it.Number = &number
		return err
	},
	"range": func(it *Item, data []byte) error {
		v, err := count("range", data, math.MaxInt64)
		it.Range = &v
		return err
	},
	"seed":    func(it *Item, data []byte) (err error) { it.Seed, err = integer("seed", data); return err },
	"initial": func(it *Item, data []byte) (err error) { it.Initial, err = integer("initial", data); return err },
	"values":  func(it *Item, data []byte) (err error) { it.Values, err = list(data); return err },
	"op":      func(it *Item, data []byte) error { return name("op", data, (*string)(&it.Op)) },
	"method":  func(it *Item, data []byte) error { return name("method", data, (*string)(&it.Method)) },
}

// count reads an integer from 0 to limit.
func count(field string, data []byte, limit int64) (int64, error) {
	v, err := integer(field, data)
	if err != nil {
		return 0, err
	}
	return v.Int64(), within(field, v, limit)
}

// list reads the values field.
func list(data []byte) ([]*big.Int, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("values is %s, want a list such as [1,2,3]", abbreviate(string(data)))
	}
	values := make([]*big.Int, len(raw))
	for i := range raw {
		v, err := integer(fmt.Sprintf("values[%d]", i), raw[i])
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

// name reads a string.
func name(field string, data []byte, into *string) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s is %s, want a name in quotes", field, abbreviate(string(data)))
	}
	return nil
}
