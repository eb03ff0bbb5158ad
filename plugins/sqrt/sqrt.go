// Package sqrt takes the square root of one number: the smallest workload there is, which is why it shows what dispatch costs.
package sqrt

import (
	"context"
	"fmt"
	"math"
)

// Schema is the JSON Schema of an item.
const Schema = `{"type": "number", "minimum": 0}`

// Sqrt returns the square root of x, correctly rounded as IEEE 754 wants it (section 5.4.1); the root of -0 is -0.
//
// The error says which x has no root that could be written down: a negative number, as in Python's math.sqrt; infinity and NaN,
// because JSON has no way to write the result and every worker has to give the same answer. ctx is not looked at: there is nothing
// to cut short.
func Sqrt(_ context.Context, x float64) (float64, error) {
	switch {
	case x < 0:
		return 0, fmt.Errorf("sqrt of %v: the number is negative", x)
	case math.IsNaN(x) || math.IsInf(x, 1):
		return 0, fmt.Errorf("sqrt of %v: the number is not finite", x)
	}
	return math.Sqrt(x), nil
}
