package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

// show runs items on a workload one after the other, and prints what became of each. A plugin would call sdk.Serve(w) instead.
func show[In, Out any](w *sdk.Workload[In, Out], items ...In) {
	pool, err := host.OpenWorkload(context.Background(), w, host.Config{Mode: host.ModeSequential})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	for _, item := range items {
		if r, err := pool.Do(context.Background(), item); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println(r.Value)
		}
	}
}

func ExampleFunc() {
	greet := sdk.Func("greet", func(_ context.Context, name string) (string, error) { return "hello " + name, nil })
	show(greet, "Ada", "Grace")
	// Output:
	// hello Ada
	// hello Grace
}

// A counter counts the items of its worker.
type counter struct{ n int }

func (c *counter) Setup(context.Context) error { c.n = 100; return nil }

func (c *counter) Run(context.Context, string) (int, error) { c.n++; return c.n, nil }

func ExampleStruct() {
	show(sdk.Struct("count", func() sdk.Runner[string, int] { return new(counter) }), "a", "b")
	// Output:
	// 101
	// 102
}

func ExampleBatch() {
	double := sdk.Batch("double", func(_ context.Context, xs []float32) ([]float32, error) {
		outs := make([]float32, len(xs))
		for i, x := range xs {
			outs[i] = 2 * x
		}
		return outs, nil
	})
	show(double, 1.5)
	// Output: 3
}

func ExampleBatchError() {
	upper := sdk.Batch("upper", func(_ context.Context, texts []string) ([]string, error) {
		outs, errs := make([]string, len(texts)), map[int]error{}
		for i, text := range texts {
			if outs[i] = strings.ToUpper(text); text == "" {
				errs[i] = errors.New("there is no text")
			}
		}
		if len(errs) > 0 {
			return outs, &sdk.BatchError{Errs: errs}
		}
		return outs, nil
	})
	show(upper, "go", "")
	// Output:
	// GO
	// item 0: failed: there is no text
}

func ExampleBadItem() {
	age := sdk.Func("age", func(_ context.Context, years int) (string, error) {
		if years < 0 {
			return "", sdk.BadItem(fmt.Errorf("%d years is no age", years))
		}
		return fmt.Sprint(years, " years"), nil
	})
	show(age, 36, -1)
	// Output:
	// 36 years
	// item 0: bad_item: -1 years is no age
}

func ExampleWorkload_With() {
	sqrt := sdk.Func("half", func(_ context.Context, x float64) (float64, error) { return x / 2, nil }).With(sdk.Manifest{
		Description: "half of a number",
		Examples:    []any{1, 2, 3},
		Idempotent:  true,
		Prefer:      "goroutine",
	})
	m := sqrt.Manifest()
	fmt.Println(m.Name, "-", m.Description)
	// Output: half - half of a number
}

func ExampleRand() {
	dice := sdk.Func("dice", func(ctx context.Context, sides int) (bool, error) {
		n := sdk.Rand(ctx).IntN(sides) + 1 // the same for this item in each mode and attempt
		return 1 <= n && n <= sides, nil
	})
	show(dice, 6)
	// Output: true
}

func ExampleProgress() {
	sum := sdk.Func("sum", func(ctx context.Context, n int) (int, error) {
		total := 0
		for i := range n {
			if total += i; i%1000 == 0 {
				sdk.Progress(ctx, float64(i)/float64(n))
			}
		}
		return total, nil
	})
	show(sum, 10_000)
	// Output: 49995000
}

func ExampleMetadata() {
	tenant := sdk.Func("tenant", func(ctx context.Context, _ int) (string, error) { return sdk.Metadata(ctx)["tenant"], nil })
	pool, err := host.OpenWorkload(context.Background(), tenant, host.Config{Mode: host.ModeSequential})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	r, err := pool.Do(host.WithMetadata(context.Background(), map[string]string{"tenant": "acme"}), 1)
	fmt.Println(r.Value, err)
	// Output: acme <nil>
}

// A program that is a host and its plugin begins its main with ServeChild: its workers are the same program.
func ExampleServeChild() {
	main := func() {
		sdk.ServeChild(sdk.Func("greet", func(_ context.Context, name string) (string, error) { return "hello " + name, nil }))
		fmt.Println("this is the host")
	}
	main()
	// Output: this is the host
}
