package child

import (
	"fmt"
	"runtime"

	"github.com/parhost/parhost/host/sandbox"
)

// WorkerTasks is how many processes and threads a worker takes. One in Go whose GOMAXPROCS is 1 has six to eight threads. The Go runtime ends a program that is
// refused a thread.
const WorkerTasks = 8

// ReserveTasks returns how many processes and threads are left for the host: for its own threads, one for each CPU and some more, and for its guard.
func ReserveTasks() int { return 10 + runtime.GOMAXPROCS(0) }

// TasksLimit names the limit of processes and threads that is nearly used up, in words for the end of a message. It is empty if there is none.
func TasksLimit() string {
	if t, scarce := sandbox.ScarcestTasks(ReserveTasks() + 2*WorkerTasks); scarce {
		return fmt.Sprintf("; %s allows %d processes and threads, of which %d are in use", t.Limit, t.Most, t.Used)
	}
	return ""
}
