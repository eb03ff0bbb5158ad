package host

import (
	"fmt"
	"math"
)

// mostCount limits the numbers of workers, threads and batches of a pool. Each of them takes memory, and larger numbers help nobody.
const mostCount = 1 << 16

// possible returns for how many worker processes this process has descriptors left.
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

// checkSupply refuses worker processes for which this process has too few descriptors. wanted is how many are to be started, there how many exist.
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
	// reserveFiles descriptors are left for a start that is under way, for the guard, and for the program's own files.
	reserveFiles = 16
)
