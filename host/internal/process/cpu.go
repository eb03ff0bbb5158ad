package process

import (
	"fmt"
	"time"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/protocol"
)

// leastLook is the shortest time between two looks at the CPU time of a worker: the kernel counts it in units of 10 ms.
const leastLook = 10 * time.Millisecond

// spent is the CPU time of the worker when its running item was first seen.
type spent struct {
	item   int
	before time.Duration
	known  bool
}

// watchCPU ends the item of c that runs, if it has used more CPU time than it may. It trusts nothing that the worker says of its times: of a worker that shows
// no item, or shows a wrong one, the first item without an outcome counts.
func (w *Worker) watchCPU(c *call) {
	at := w.session.Progress(&c.Batch)
	if !at.MayRun || at.Waiting {
		return
	}
	now, err := child.ReadCPU(w.pid)
	if err != nil { // the process is ending
		return
	}
	limit := c.b.Options().CPU
	w.mu.Lock()
	item := at.Done
	if !w.over {
		if shown, ok := w.blackBox()[c]; ok {
			item = max(item, shown.item)
		}
	}
	used := now - c.spent.before
	switch {
	case !c.spent.known || c.spent.item != item:
		c.spent = spent{item, now, true}
		used = 0
	case c.overused[item] != nil: // it is being ended
		used = 0
	}
	if used <= limit {
		w.mu.Unlock()
		return
	}
	if c.overused == nil {
		c.overused = map[int]*protocol.ItemError{}
	}
	message := fmt.Sprintf("used %v of CPU time, the limit is %v (Config.ItemCPU)", used, limit)
	c.overused[item] = &protocol.ItemError{Kind: protocol.KindTimeout, Message: message}
	w.mu.Unlock()
	w.endItem(c, item, &kill{kind: protocol.KindTimeout, cause: protocol.CauseTimeout, message: message + fmt.Sprintf(", and went on for %v", w.options.Grace)}, w.killWithStacks)
}
