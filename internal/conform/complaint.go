package conform

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// Complaint is a log sink for a worker in the same process. It keeps the error of a failed teardown: a worker can report it only in its log,
// because its host has stopped listening by then.
type Complaint struct {
	mu  sync.Mutex
	err error
}

var _ hclog.SinkAdapter = (*Complaint)(nil)

// Accept is part of [hclog.SinkAdapter].
func (c *Complaint) Accept(_ string, level hclog.Level, message string, args ...any) {
	if level < hclog.Warn || message != "teardown" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = errors.New("failed")
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "err" {
			c.err = fmt.Errorf("%v", args[i+1])
		}
	}
}

// Err returns the error of the teardown, or nil if it did not fail.
func (c *Complaint) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
