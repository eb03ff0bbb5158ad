// Command echo is a plugin that starts a program for each item, as GNU parallel and xargs do.
package main

import (
	"context"
	"os/exec"
	"strconv"
	"strings"

	"github.com/parhost/parhost/sdk"
)

func main() { sdk.Serve(sdk.Func("echo", echo)) }

func echo(ctx context.Context, x int64) (string, error) {
	out, err := exec.CommandContext(ctx, "echo", strconv.FormatInt(x, 10)).Output()
	return strings.TrimSpace(string(out)), err
}
