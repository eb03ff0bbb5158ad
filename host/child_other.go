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

// awaitExit has no portable form: a process can only be waited for and reaped at once.
func awaitExit(int) bool { return false }
