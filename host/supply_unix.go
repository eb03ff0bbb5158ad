//go:build unix

package host

import (
	"math"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// openFiles returns how many descriptors this process may have, and how many it has, as far as the system shows them. limit is -1 if it is unknown or if there
// is none. Go raises the soft limit to the hard one when a program starts (go.dev/issue/46279).
func openFiles() (limit, used int) {
	var most unix.Rlimit
	if runtime.GOOS != "linux" || unix.Getrlimit(unix.RLIMIT_NOFILE, &most) != nil || most.Cur > math.MaxInt32 {
		return -1, 0
	}
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return int(most.Cur), 0
	}
	return int(most.Cur), len(names)
}
