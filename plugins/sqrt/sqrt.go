// Package sqrt takes the square root of one number. It is the smallest useful workload, so it shows the cost of dispatch.
package sqrt

import (
	"context"
	"fmt"
	"math"
)

// Schema is the JSON Schema of an item.
const Schema = `{"type": "number", "minimum": 0}`

// Sqrt returns the square root of x, correctly rounded as IEEE 754 requires (section 5.4.1); the root of -0 is -0.
//
// The error says why x is refused. Negative numbers are refused as in Python's math.sqrt. Infinity and NaN are refused because JSON cannot represent
// the result, and every mode must give the same answer. Sqrt ignores ctx, because there is nothing to interrupt.
func Sqrt(_ context.Context, x float64) (float64, error) {
	switch {
	case x < 0:
		return 0, fmt.Errorf("sqrt of %v: the number is negative", x)
	case math.IsNaN(x) || math.IsInf(x, 1):
		return 0, fmt.Errorf("sqrt of %v: the number is not finite", x)
	}
	return math.Sqrt(x), nil
}
