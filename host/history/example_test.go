package history_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/history"
	"github.com/parhost/parhost/sdk"
)

func ExampleStore() {
	events := history.New()
	even := sdk.Func("even", func(_ context.Context, n int) (int, error) {
		if n%2 == 1 {
			return 0, fmt.Errorf("%w: %d", errors.ErrUnsupported, n)
		}
		return n / 2, nil
	})
	pool, err := host.OpenWorkload(context.Background(), even, host.Config{Mode: host.ModeGoroutine, Observer: events})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = pool.Map(context.Background(), []int{1, 2, 3, 4, 6})
	fmt.Println(err)
	if err := pool.Shutdown(context.Background()); err != nil { // all events have been told by then
		fmt.Println(err)
	}
	totals := events.Totals()
	fmt.Println(totals.OK, "ok,", totals.Failed, "failed")
	groups, _ := events.Failures()
	for _, g := range groups {
		fmt.Println(g.Count, "×", g.Kind, "as item", g.First, "did:", g.Message)
	}
	// Output:
	// 2 of 5 items failed, the first: item 0: failed: unsupported operation: 1
	// 3 ok, 2 failed
	// 2 × failed as item 0 did: unsupported operation: 1
}
