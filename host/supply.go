package host

import (
	"fmt"
	"math"
)

// mostCount bounds the numbers of workers, threads and batches of a pool: a queue is made for each, and none is of use beyond this.
const mostCount = 1 << 16

// possible is how many worker processes the descriptors that this process has left allow.
func (c *Config) possible() int {
	limit, used := openFiles()
	if c.Mode != Process || limit < 0 {
		return math.MaxInt
	}
	return max(0, limit-used-reserveFiles) / c.filesOfWorker()
}

func (c *Config) filesOfWorker() int {
	if c.Inline {
		return inlineFiles
	}
	return workerFiles
}

// checkSupply refuses more worker processes than the descriptors of this process allow: as many as wanted, in addition to those that there are.
func (c *Config) checkSupply(wanted, there int) error {
	possible := c.possible()
	if wanted <= possible {
		return nil
	}
	limit, used := openFiles()
	return &ConfigError{"Workers", fmt.Sprintf("%d worker processes take %d open files each, and %d of the limit of %d (ulimit -n) are in use: at most %d workers are possible; lower the number, or raise the limit",
		wanted+there, c.filesOfWorker(), used, limit, possible+there)}
}

// A worker process takes so many descriptors of its host on Linux: two handles of the process, its output, its connection, and what both share. Other
// systems, and pools with Config.Inline, have less to share.
const (
	workerFiles = 12
	inlineFiles = 5
	// So many are left for a start that is under way, the guard, and the program's own.
	reserveFiles = 16
)
