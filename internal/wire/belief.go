package wire

import (
	"fmt"
	"time"
)

// Known is what a host knows of an item whose error a worker has sent.
type Known struct {
	Canceled  bool          // the worker has been told to end the item
	Limit     time.Duration // of the item's time; 0 means none
	Ran       time.Duration // how long the item can have run at the most
	MaxResult uint64        // bytes of a result; 0 means no limit
}

// ClockSlack is how much earlier than a limit a worker's clock may say that the limit has passed: timers of some languages and systems are
// that coarse.
const ClockSlack = 20 * time.Millisecond

// Doubt says why an error that a worker sent cannot be true, and nothing if it can be.
func (e *ItemError) Doubt(known Known) string {
	switch {
	case e.Kind == Canceled && !known.Canceled:
		return "worker says that the item was canceled, and its host had not canceled it"
	case e.Kind == Timeout && known.Limit == 0:
		return "worker says that the item passed its time limit, and there is none"
	case e.Kind == Timeout && known.Ran+ClockSlack < known.Limit:
		return fmt.Sprintf("worker says that the item passed its time limit of %v, and it ran for %v at the most", known.Limit, known.Ran.Round(time.Millisecond))
	case e.Kind == Oversize && (known.MaxResult == 0 || uint64(max(0, e.Size)) <= known.MaxResult):
		return fmt.Sprintf("worker says that the result of %d bytes is too large, and the limit is %d", e.Size, known.MaxResult)
	default:
		return ""
	}
}
