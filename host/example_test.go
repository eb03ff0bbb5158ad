package host_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

// root is linked into the program here; Config.Plugin names an executable instead. Without Mode the workers are processes.
var root = sdk.Func("root", func(_ context.Context, x float64) (float64, error) {
	if x < 0 {
		return 0, fmt.Errorf("%v is negative", x)
	}
	return math.Sqrt(x), nil
})

func openExample() *host.Pool {
	pool, err := host.Open(context.Background(), host.Config{Workload: root, Mode: host.ModeGoroutine, Workers: 2})
	if err != nil {
		panic(err)
	}
	return pool
}

func ExampleMap() {
	pool := openExample()
	defer pool.Close()
	roots, err := host.Map[float64, float64](context.Background(), pool, []float64{1, 4, -9, 16})
	fmt.Println(roots)
	if failed, ok := errors.AsType[*host.MapError](err); ok {
		for _, e := range failed.Errs {
			fmt.Println(e)
		}
	}
	// Output:
	// [1 2 0 4]
	// item 2: failed: -9 is negative
}

func ExampleDo() {
	pool := openExample()
	defer pool.Close()
	fmt.Println(host.Do[float64, float64](context.Background(), pool, 81))
	_, err := host.Do[float64, float64](context.Background(), pool, -1)
	fmt.Println(err, errors.Is(err, host.ErrFailed))
	// Output:
	// 9 <nil>
	// item 0: failed: -1 is negative true
}

func ExampleNewBuffer() {
	add := sdk.Func("add", func(_ context.Context, numbers []float64) (sum float64, err error) {
		for _, x := range numbers {
			sum += x
		}
		return sum, nil
	})
	pool, err := host.Open(context.Background(), host.Config{Workload: add, Mode: host.ModeGoroutine, Workers: 2})
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	buffer, err := host.NewBuffer[float64](pool, 6)
	if err != nil {
		panic(err)
	}
	defer buffer.Free()
	for i := range buffer.Slice {
		buffer.Slice[i] = float64(i)
	}
	items := slices.Collect(slices.Chunk(buffer.Slice, 2)) // they lie in the buffer
	fmt.Println(host.Map[[]float64, float64](context.Background(), pool, items))
	// Output:
	// [1 5 9] <nil>
}

func ExampleStream() {
	pool := openExample()
	defer pool.Close()
	items := func(yield func(float64) bool) { // as many as there may be
		for x := 0.0; yield(x * x); x++ {
		}
	}
	for r, err := range host.Stream[float64, float64](context.Background(), pool, items) {
		if err != nil {
			fmt.Println("the run ended early:", err)
		}
		if fmt.Println(r.Index, r.Value); r.Index == 3 {
			break
		}
	}
	// Output:
	// 0 0
	// 1 1
	// 2 2
	// 3 3
}

func ExampleUnordered() {
	pool := openExample()
	defer pool.Close()
	sum := 0.0
	for r, err := range host.Unordered[float64, float64](context.Background(), pool, slices.Values([]float64{1, 4, 9})) {
		if err == nil && r.Err == nil {
			sum += r.Value
		}
	}
	fmt.Println(sum)
	// Output: 6
}

func ExampleStart() {
	pool := openExample()
	defer pool.Close()
	h := host.Start[float64, float64](context.Background(), pool, 2.25)
	fmt.Println(h.Wait(context.Background()))
	code, ok := h.ExitCode()
	fmt.Println(code, ok)
	// Output:
	// 1.5 <nil>
	// 0 true
}
