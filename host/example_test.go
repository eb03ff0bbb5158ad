package host_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"time"

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

func openExample() *host.Typed[float64, float64] {
	pool, err := host.OpenWorkload(context.Background(), root, host.Config{Mode: host.ModeGoroutine, Workers: 2})
	if err != nil {
		panic(err)
	}
	return pool
}

func ExampleOpenWorkload() {
	pool, err := host.OpenWorkload(context.Background(), root, host.Config{Mode: host.ModeGoroutine, Workers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	roots, err := pool.Map(context.Background(), []float64{1, 4, 9})
	fmt.Println(roots, err)
	// Output: [1 2 3] <nil>
}

func ExampleBind() {
	pool, err := host.Open(context.Background(), host.Config{Workload: root, Mode: host.ModeGoroutine}) // or Plugin: "./parhost-plugin-root"
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	if _, err := host.Bind[string, float64](pool); err != nil {
		fmt.Println(err)
	}
	roots, err := host.Bind[float64, float64](pool)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(roots.Map(context.Background(), []float64{16, 25}))
	// Output:
	// each item of workload "root" is of kind float64, and Go's string is of kind string; use a type of kind float64, or BindJSON to send JSON
	// [4 5] <nil>
}

func ExampleBindJSON() {
	pool := openExample()
	defer pool.Close()
	fmt.Println(host.BindJSON[int, any](pool.Pool).Map(context.Background(), []int{4, 9}))
	// Output: [2 3] <nil>
}

func ExampleTyped_Map() {
	pool := openExample()
	defer pool.Close()
	roots, err := pool.Map(context.Background(), []float64{1, 4, -9, 16})
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

func ExampleTyped_Do() {
	pool := openExample()
	defer pool.Close()
	r, err := pool.Do(context.Background(), 81)
	fmt.Println(r.Value, r.Attempts, err)
	_, err = pool.Do(context.Background(), -1)
	fmt.Println(err, errors.Is(err, host.ErrFailed))
	// Output:
	// 9 1 <nil>
	// item 0: failed: -1 is negative true
}

func ExampleNewBuffer() {
	add := sdk.Func("add", func(_ context.Context, numbers []float64) (sum float64, err error) {
		for _, x := range numbers {
			sum += x
		}
		return sum, nil
	})
	pool, err := host.OpenWorkload(context.Background(), add, host.Config{Mode: host.ModeGoroutine, Workers: 2})
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	buffer, err := host.NewBuffer[float64](pool.Pool, 6)
	if err != nil {
		panic(err)
	}
	defer buffer.Free()
	for i := range buffer.Slice {
		buffer.Slice[i] = float64(i)
	}
	items := slices.Collect(slices.Chunk(buffer.Slice, 2)) // they lie in the buffer
	fmt.Println(pool.Map(context.Background(), items))
	// Output:
	// [1 5 9] <nil>
}

func ExampleTyped_Stream() {
	pool := openExample()
	defer pool.Close()
	items := func(yield func(float64) bool) { // as many as there may be
		for x := 0.0; yield(x * x); x++ {
		}
	}
	for r, err := range pool.Stream(context.Background(), items) {
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

func ExampleTyped_Unordered() {
	pool := openExample()
	defer pool.Close()
	sum := 0.0
	for r, err := range pool.Unordered(context.Background(), slices.Values([]float64{1, 4, 9})) {
		if err == nil && r.Err == nil {
			sum += r.Value
		}
	}
	fmt.Println(sum)
	// Output: 6
}

func ExampleTyped_Start() {
	pool := openExample()
	defer pool.Close()
	h := pool.Start(context.Background(), 2.25)
	r, err := h.Wait(context.Background())
	fmt.Println(r.Value, err)
	code, ok := h.ExitCode()
	fmt.Println(code, ok)
	// Output:
	// 1.5 <nil>
	// 0 true
}

func ExampleHandle_Cancel() {
	wait := sdk.Func("wait", func(ctx context.Context, _ int) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
	pool, err := host.OpenWorkload(context.Background(), wait, host.Config{Mode: host.ModeGoroutine, Workers: 1})
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	h := pool.Start(context.Background(), 1)
	h.Cancel()
	_, err = h.Wait(context.Background())
	fmt.Println(errors.Is(err, host.ErrCanceled))
	// Output: true
}

func ExampleObserverFunc() {
	observer := host.ObserverFunc(func(e host.Event) {
		if failed, ok := e.(host.ItemFailed); ok {
			fmt.Println(failed.Err)
		}
	})
	pool, err := host.OpenWorkload(context.Background(), root, host.Config{Mode: host.ModeGoroutine, Workers: 1, Observer: observer})
	if err != nil {
		panic(err)
	}
	_, _ = pool.Map(context.Background(), []float64{4, -4})
	_ = pool.Close() // has called the Observer with all events when it returns
	// Output: item 1: failed: -4 is negative
}

func ExampleWithSeed() {
	dice := sdk.Func("dice", func(ctx context.Context, sides int) (int, error) { return 1 + sdk.Rand(ctx).IntN(sides), nil })
	pool, err := host.OpenWorkload(context.Background(), dice, host.Config{Mode: host.ModeGoroutine, Workers: 2})
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	ctx := host.WithSeed(context.Background(), 1)
	first, _ := pool.Map(ctx, []int{6, 6, 6, 6})
	second, _ := pool.Map(ctx, []int{6, 6, 6, 6})
	fmt.Println(slices.Equal(first, second))
	// Output: true
}

func ExampleWithMetadata() {
	greet := sdk.Func("greet", func(ctx context.Context, name string) (string, error) {
		return sdk.Metadata(ctx)["greeting"] + ", " + name, nil
	})
	pool, err := host.OpenWorkload(context.Background(), greet, host.Config{Mode: host.ModeGoroutine})
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	r, err := pool.Do(host.WithMetadata(context.Background(), map[string]string{"greeting": "Hello"}), "Ada")
	fmt.Println(r.Value, err)
	// Output: Hello, Ada <nil>
}

func ExamplePool_Resize() {
	pool := openExample()
	defer pool.Close()
	fmt.Println(pool.Resize(4), pool.Resize(0))
	// Output: <nil> Config.Workers: 0 workers can do nothing: give 1 or more, or -1 for one per CPU
}

func ExamplePool_Done() {
	pool := openExample()
	fmt.Println(pool.Err())
	_ = pool.Close()
	<-pool.Done()
	fmt.Println(pool.Err())
	// Output:
	// <nil>
	// pool is closed
}

func ExamplePool_Shutdown() {
	pool := openExample()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(pool.Shutdown(ctx)) // what runs has ended
	// Output: <nil>
}

func ExampleSlogLogger() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	tell := sdk.Func("tell", func(ctx context.Context, x int) (int, error) {
		sdk.Logger(ctx).Info("half of it", "x", x)
		return x / 2, nil
	})
	pool, err := host.OpenWorkload(context.Background(), tell, host.Config{Mode: host.ModeGoroutine, Workers: 1, Logger: host.SlogLogger(log)})
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	_, _ = pool.Do(context.Background(), 8)
	// Output: level=INFO msg="half of it" logger=tell worker=1 item=0 x=8
}
