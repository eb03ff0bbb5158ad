// Command faulty is a plugin whose items say how to fail.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/parhost/parhost/sdk"
)

func main() { sdk.Serve(sdk.Func("faulty", run)) }

func run(_ context.Context, how string) (string, error) {
	switch how {
	case "fail":
		return "", errors.New("as it was told")
	case "panic":
		panic("as it was told")
	case "exit":
		_, _ = fmt.Fprintln(os.Stderr, "these are the last words")
		os.Exit(7)
	case "spin":
		for {
		}
	case "peek": // reads a file of the host
		if _, err := os.ReadFile("/etc/passwd"); err != nil {
			os.Exit(9)
		}
	case "plant": // puts a link where the host is going to write
		if err := os.Symlink("../victim", "out/run.json"); err != nil {
			return "", err
		}
	case "swap": // replaces the folder in which the host is going to write
		if err := errors.Join(os.Rename("out", "away"), os.Symlink("elsewhere", "out")); err != nil {
			return "", err
		}
	case "unmended":
		if _, err := os.Stat("mended"); err != nil {
			os.Exit(3)
		}
	}
	return how, nil
}
