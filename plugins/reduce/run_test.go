package reduce

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	for name, c := range map[string]struct{ json, want, fails string }{
		"the notebook's reduce":    {json: `{"values":[1,2,3,4,5],"op":"add","initial":0}`, want: "15"},
		"multiplies by default":    {json: `{"values":[1,2,3,4,5]}`, want: "120"},
		"a seeded draw":            {json: `{"number":5,"range":10,"seed":4,"op":"max"}`, want: "9"},
		"all there are":            {json: `{"number":10,"range":10,"op":"add"}`, want: "45"},
		"the default range":        {json: `{"number":1000000,"op":"add"}`, want: "499999500000"},
		"a zero among them":        {json: `{"number":1000000}`, want: "0"},
		"nothing, with initial":    {json: `{"number":0,"initial":-7}`, want: "-7"},
		"bits of a negative":       {json: `{"values":[-256,255,-3],"op":"xor"}`, want: "2"},
		"no numbers drawn":         {json: `{"number":0}`, fails: "reduce of empty sequence with no initial value"},
		"no numbers given":         {json: `{"values":[]}`, fails: "reduce of empty sequence with no initial value"},
		"more than there are":      {json: `{"number":11,"range":10}`, fails: "number is 11, the limit is 10: no more different numbers are in range(10)"},
		"more than by default":     {json: `{"number":1000001}`, fails: "number is 1000001, the limit is 1000000: no more different numbers are in range(1000000)"},
		"neither":                  {json: `{"op":"add"}`, fails: `neither number nor values is given, write {"number":5} to draw numbers or {"values":[1,2,3]} to name them`},
		"both":                     {json: `{"number":5,"values":[1]}`, fails: `both number and values are given, write {"number":5} to draw numbers or {"values":[1,2,3]} to name them`},
		"a range beside values":    {json: `{"values":[1],"range":5}`, fails: "range is given beside values, it belongs to number"},
		"a seed beside values":     {json: `{"values":[1],"seed":5}`, fails: "seed is given beside values, it belongs to number"},
		"an unknown op":            {json: `{"values":[1],"op":"pow"}`, fails: `op is "pow", want add, mul, min, max, gcd, lcm, and, or or xor`},
		"an unknown op, no draw":   {json: `{"number":5,"op":"ADD"}`, fails: `op is "ADD", want add, mul, min, max, gcd, lcm, and, or or xor`},
		"an unknown method":        {json: `{"values":[1],"method":"right"}`, fails: `method is "right", want left or tree`},
		"a tree where none is due": {json: `{"values":[3,1,2],"op":"min","method":"tree"}`, want: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			var item Item
			if err := json.Unmarshal([]byte(c.json), &item); err != nil {
				t.Fatal(err)
			}
			got, err := Run(t.Context(), item)
			if err != nil && err.Error() != c.fails || err == nil && c.fails != "" {
				t.Fatalf("got the error %v, want %s", err, c.fails)
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// Items that were made in Go have not been checked by the decoder, so Run must check them.
func TestRunChecksItemsThatWereNotRead(t *testing.T) {
	below, above, one, negative := -1, MaxNumber+1, 1, int64(-1)
	for name, c := range map[string]struct {
		item Item
		want string
	}{
		"number below":   {Item{Number: &below}, "number is -1, want 0 to 10000000"},
		"number above":   {Item{Number: &above}, "number is 10000001, want 0 to 10000000"},
		"range below":    {Item{Number: &one, Range: &negative}, "range is -1, want 0 to 9223372036854775807"},
		"a nil integer":  {Item{Values: []*big.Int{big.NewInt(0), nil}}, "number 1 of the sequence is nil"},
		"a nil in a sum": {Item{Values: []*big.Int{nil}, Op: Add}, "number 0 of the sequence is nil"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Run(t.Context(), c.item); err == nil || err.Error() != c.want {
				t.Errorf("got %q and the error %v, want %s", got, err, c.want)
			}
		})
	}
}

func TestEmptySequenceMatchesErrEmpty(t *testing.T) {
	for method, reduce := range ways {
		if _, err := reduce(t.Context(), Add, nil, nil); !errors.Is(err, ErrEmpty) {
			t.Errorf("by %s: got %v, want ErrEmpty", method, err)
		}
	}
}

func TestDrawsWithoutASeedDiffer(t *testing.T) {
	number := 10
	item := Item{Number: &number, Op: Add}
	seen := map[string]bool{}
	for range 5 {
		sum, err := Run(t.Context(), item)
		if err != nil {
			t.Fatal(err)
		}
		seen[sum] = true
	}
	if len(seen) == 1 {
		t.Errorf("five draws of ten numbers below a million had the same sum: %v", seen)
	}
}

func TestTheNumbersStayAsTheyWere(t *testing.T) {
	for op := range rules {
		for method, reduce := range ways {
			values, initial := integerList(6, -4, 10, 1<<40, 1<<40), big.NewInt(9)
			values = append(values, new(big.Int).Lsh(big.NewInt(3), 9000))
			before := written(t, Item{Values: values, Initial: initial})
			result, err := reduce(t.Context(), op, values, initial)
			if err != nil {
				t.Fatal(err)
			}
			clear(result.Bits()) // would change an input number that shares memory with the result
			if after := written(t, Item{Values: values, Initial: initial}); string(after) != string(before) {
				t.Errorf("%s by %s changed its numbers from %.80s to %.80s", op, method, before, after)
			}
		}
	}
}

func TestACancelledItemEndsWithTheCause(t *testing.T) {
	cause := errors.New("the host lost patience")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	number, limit := 100_000, int64(1)<<40
	for method := range ways {
		if _, err := Run(ctx, Item{Number: &number, Range: &limit, Method: method}); !errors.Is(err, cause) {
			t.Errorf("a draw for %s: got %v, want the cause", method, err)
		}
	}
	values := draw(t, big.NewInt(1), limit, number)
	for method, reduce := range ways {
		if _, err := reduce(ctx, Mul, values, nil); !errors.Is(err, cause) {
			t.Errorf("a product by %s: got %v, want the cause", method, err)
		}
	}
}

// A fold of the whole product from the left would take minutes.
func TestALongFoldStopsSoon(t *testing.T) {
	values := draw(t, big.NewInt(1), 1<<40, 1_000_000)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := Fold(ctx, Mul, values, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the deadline's error", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the fold went on for %v after its deadline of 20ms", took)
	}
}
