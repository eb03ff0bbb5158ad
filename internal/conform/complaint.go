package conform

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// Complaint is a sink for the logger of a worker in the same process. It keeps what a failed teardown says: the log is the only
// place where a worker says so, because its host has stopped listening.
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

// Err returns what was complained of, nil if nothing was.
func (c *Complaint) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
