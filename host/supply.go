package host

import (
	"fmt"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/host/sandbox"
)

// maxCount limits the numbers of workers, threads and batches of a pool. Each of them takes memory, and larger numbers are of no use.
const maxCount = 1 << 16

// room returns how many of the wanted worker processes can be started with the open files, processes and threads that are left. why names the scarcest of these
// resources. It is empty if all workers can be started.
func (c *Config) room(wanted int) (possible int, why string) {
	if c.Mode != ModeProcess {
		return wanted, ""
	}
	possible = wanted
	if limit, used := openFiles(); limit >= 0 {
		files := c.filesOfWorker()
		if n := max(0, limit-used-reserveFiles) / files; n < possible {
			possible, why = n, fmt.Sprintf("take %d open files each, and %d of the limit of %d (ulimit -n) are in use", files, used, limit)
		}
	}
	reserve := child.ReserveTasks()
	if t, scarce := sandbox.ScarcestTasks(reserve + child.WorkerTasks*wanted); scarce {
		if n := max(0, t.Free()-reserve) / child.WorkerTasks; n < possible {
			possible, why = n, fmt.Sprintf("take %d processes and threads each, and %s allows %d, of which %d are in use and %d are the host's reserve", child.WorkerTasks, t.Limit, t.Most, t.Used, reserve)
		}
	}
	return possible, why
}

func (c *Config) filesOfWorker() int {
	if c.Inline {
		return inlineFiles
	}
	return workerFiles
}

// checkSupply returns an error if too few open files, processes or threads are left for worker processes. wanted is the number to start, there the number that
// exists.
func (c *Config) checkSupply(wanted, there int) error {
	possible, why := c.room(wanted)
	switch what := fmt.Sprintf("%d worker processes %s", wanted+there, why); {
	case possible >= wanted:
		return nil
	case possible+there == 0:
		return &ConfigError{"Workers", what + ": no worker is possible; raise the limit"}
	default:
		return &ConfigError{"Workers", fmt.Sprintf("%s: at most %d workers are possible; lower the number, or raise the limit", what, possible+there)}
	}
}

// Descriptors that a worker process takes of its host on Linux: two handles of the process, its output, its connection, and what both share. On other systems,
// and in pools with Config.Inline, less is shared.
const (
	workerFiles = 12
	inlineFiles = 5
	// reserveFiles is the number of descriptors that are left for a start that is under way, for the guard, and for the program's own files.
	reserveFiles = 16
)
