// Command unruly is a parhost plugin whose items can fail in every way, to show what that costs the other items: see docs/RELIABILITY.md.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"

	"github.com/parhost/parhost/sdk"
)

// item is the input of one call: {"n": 7} returns 49, {"n": 7, "do": "exit"} ends the process.
type item struct {
	N  int    `json:"n" jsonschema:"what to square"`
	Do string `json:"do,omitempty" jsonschema:"what to do instead: fail, panic, exit, kill, overflow, hang or spin"`
}

func square(_ context.Context, it item) (int, error) {
	switch it.Do {
	case "":
		return it.N * it.N, nil
	case "fail":
		return 0, fmt.Errorf("%d is not to my liking", it.N)
	case "panic":
		panic(fmt.Sprintf("%d frightens me", it.N))
	case "exit":
		fmt.Fprintf(os.Stderr, "I cannot live with %d\n", it.N)
		os.Exit(3)
	case "kill":
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			return 0, err
		}
		if err := self.Signal(syscall.SIGKILL); err != nil {
			return 0, err
		}
		select {}
	case "overflow":
		debug.SetMaxStack(16 << 20) // Go's default limit is 1 GiB, which takes a second to fill
		return overflow(it.N), nil
	case "hang": // ignores the context, so it cannot be stopped gracefully
		select {}
	case "spin":
		for n := it.N; ; n++ {
			it.N ^= n
		}
	}
	return 0, sdk.BadItem(fmt.Errorf("do %q is none of fail, panic, exit, kill, overflow, hang, spin", it.Do))
}

// overflow recurses until the stack is full.
func overflow(n int) int {
	if n < 0 {
		return 0
	}
	return 1 + overflow(n+1)
}

var workload = sdk.Func("unruly", square).With(sdk.Manifest{
	Version:     "0.1.0",
	Description: "squares numbers, unless it is told to do something worse",
	Examples:    []any{item{N: 7}, item{N: 8}},
	Idempotent:  true,
})

func main() { sdk.Serve(workload) }
