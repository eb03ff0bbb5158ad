package sqrt

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"testing"
)

func TestSqrt(t *testing.T) {
	for name, c := range map[string]struct {
		x, want float64
		fails   string
	}{
		"a square":             {x: 81, want: 9},
		"no square":            {x: 2, want: 1.4142135623730951},
		"zero":                 {x: 0, want: 0},
		"minus zero":           {x: math.Copysign(0, -1), want: math.Copysign(0, -1)},
		"the largest":          {x: math.MaxFloat64, want: 1.3407807929942596e154},
		"the smallest":         {x: math.SmallestNonzeroFloat64, want: 2.2227587494850775e-162},
		"minus one":            {x: -1, fails: "sqrt of -1: the number is negative"},
		"a negative fraction":  {x: -1e-300, fails: "sqrt of -1e-300: the number is negative"},
		"minus infinity":       {x: math.Inf(-1), fails: "sqrt of -Inf: the number is negative"},
		"infinity":             {x: math.Inf(1), fails: "sqrt of +Inf: the number is not finite"},
		"what is not a number": {x: math.NaN(), fails: "sqrt of NaN: the number is not finite"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Sqrt(t.Context(), c.x)
			if err != nil && err.Error() != c.fails || err == nil && c.fails != "" {
				t.Fatalf("got the error %v, want %s", err, c.fails)
			}
			if math.Float64bits(got) != math.Float64bits(c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestEveryResultCanBeWrittenAsJSON(t *testing.T) {
	for _, x := range []float64{0, math.Copysign(0, -1), 2, math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN()} {
		if got, err := Sqrt(t.Context(), x); err == nil {
			if _, err := json.Marshal(got); err != nil {
				t.Errorf("sqrt of %v is %v: %v", x, got, err)
			}
		}
	}
}

func TestSchemaIsJSON(t *testing.T) {
	if !json.Valid([]byte(Schema)) {
		t.Errorf("got %s, want JSON", Schema)
	}
}

func BenchmarkSqrt(b *testing.B) {
	x := 0.0
	for b.Loop() {
		if _, err := Sqrt(b.Context(), x); err != nil {
			b.Fatal(err)
		}
		x++
	}
}

func ExampleSqrt() {
	for i := range 4 {
		root, _ := Sqrt(context.Background(), float64(i*i))
		fmt.Print(root, " ")
	}
	// Output: 0 1 2 3
}
