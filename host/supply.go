package host

import "fmt"

// mostCount bounds the numbers of workers, threads and batches of a pool: a queue is made for each, and none is of use beyond this.
const mostCount = 1 << 16

// checkSupply refuses more worker processes than the descriptors of this process allow. so many are wanted in addition to those that there are.
func (c *Config) checkSupply(field string, wanted, there int) error {
	if c.Mode != Process {
		return nil
	}
	each := workerFiles
	if c.Inline {
		each = inlineFiles
	}
	limit, used := openFiles()
	if limit < 0 || wanted <= 0 || wanted <= (limit-used)/each {
		return nil
	}
	possible := max(0, (limit-used)/each) + there
	return &ConfigError{field, fmt.Sprintf("%d worker processes take %d open files each, and %d of the limit of %d (ulimit -n) are in use: at most %d workers are possible; lower the number, or raise the limit",
		wanted+there, each, used, limit, possible)}
}

// A worker process takes so many descriptors of its host on Linux: two handles of the process, its output, its connection, and what both share. Other
// systems, and pools with Config.Inline, have less to share.
const (
	workerFiles = 12
	inlineFiles = 5
)
