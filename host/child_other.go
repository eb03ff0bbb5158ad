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

// awaitExit has no portable form; the group is then killed while the process may be running, and once more after it.
func awaitExit(int) {}
