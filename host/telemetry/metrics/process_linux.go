package metrics

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/rss"
)

// own returns what this process uses. What cannot be read is left out.
func own() map[metric]float64 {
	values := map[metric]float64{}
	if m, err := rss.Read(os.Getpid()); err == nil {
		values[ownMemory] = float64(m.Resident)
	}
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err == nil {
		values[ownCPU] = time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
	}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		values[ownFiles] = float64(len(files) - 1) // one is that of the folder
	}
	return values
}
