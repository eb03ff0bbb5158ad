//go:build cgo

package arenas

import (
	"math"
	"os"
	"syscall"
)

// variable is the environment variable that limits the C library to one arena. The library reads it when the program starts, so setting it takes a restart.
const variable = "MALLOC_ARENA_MAX"

// If the start fails, this program continues as it is.
func init() {
	var limit syscall.Rlimit
	if _, set := os.LookupEnv(variable); set || syscall.Getrlimit(syscall.RLIMIT_AS, &limit) != nil || limit.Cur > math.MaxInt64 {
		return // RLIM_INFINITY is larger than MaxInt64
	}
	if exe, err := os.Executable(); err == nil {
		_ = syscall.Exec(exe, os.Args, append(os.Environ(), variable+"=1"))
	}
}
