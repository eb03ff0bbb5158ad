//go:build !linux

package host

import (
	"errors"
	"runtime"
)

const canReadRSS = false

func readRSS(int) (int64, error) {
	return 0, errors.New("the memory of a process cannot be read on " + runtime.GOOS)
}
