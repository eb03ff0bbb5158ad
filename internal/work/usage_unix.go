//go:build unix

package work

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/protocol"
)

// usage returns what this process, and those that it has waited for, have used so far. It takes a microsecond.
func usage() (u protocol.Usage, ok bool) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) != nil {
			return protocol.Usage{}, false
		}
		u.User += time.Duration(r.Utime.Nano())
		u.System += time.Duration(r.Stime.Nano())
		u.Voluntary += int(r.Nvcsw)
		u.Forced += int(r.Nivcsw)
		u.MaxRSS = max(u.MaxRSS, int64(r.Maxrss)) // the largest of these processes
	}
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
		u.MaxRSS <<= 10 // kilobytes, see getrusage(2)
	}
	return u, true
}
