package wire

import (
	"fmt"
	"math"
	"time"

	"github.com/parhost/parhost/protocol"
)

// Known is what a host knows about an item for which a worker has sent an error.
type Known struct {
	Canceled  bool          // the host has told the worker to cancel the item
	Limit     time.Duration // the item's time limit; 0 means none
	Ran       time.Duration // the longest time for which the item can have run
	MaxResult uint64        // limit for the bytes of a result; 0 means no limit
}

// ClockSlack is how much too early a worker may report that a time limit has passed, because timers of some languages and systems are coarse.
const ClockSlack = 20 * time.Millisecond

// Doubt returns the reason why an error that a worker sent cannot be true, or "" if it can be.
func Doubt(e *protocol.ItemError, known Known) string {
	switch {
	case e.Kind == protocol.KindCanceled && !known.Canceled:
		return "worker says that the item was canceled, and its host had not canceled it"
	case e.Kind == protocol.KindTimeout && known.Limit == 0:
		return "worker says that the item passed its time limit, and there is none"
	case e.Kind == protocol.KindTimeout && known.Ran+ClockSlack < known.Limit:
		return fmt.Sprintf("worker says that the item passed its time limit of %v, and it ran for %v at the most", known.Limit, known.Ran.Round(time.Millisecond))
	case e.Kind == protocol.KindOversize && (known.MaxResult == 0 || uint64(max(0, e.Size)) <= known.MaxResult):
		return fmt.Sprintf("worker says that the result of %d bytes is too large, and the limit is %d", e.Size, known.MaxResult)
	default:
		return ""
	}
}

// Limits for the error of an item in a file.
const (
	MaxOffset      = 1 << 40
	MaxSize        = 1 << 60
	MaxSignal      = 64      // bytes
	MaxStderrLines = 64      // lines
	MaxStderrLine  = 4 << 10 // bytes of one line
)

// Possible reports whether an item can have failed as an error says that was read from a file. Kind canceled is not possible, because nothing is kept of
// items that were canceled.
func Possible(e *protocol.ItemError) bool {
	if !protocol.IsKind(e.Kind) || e.Kind == protocol.KindCanceled || e.Cause != "" && !protocol.IsCause(e.Cause) ||
		len(e.Message) > MaxMessageText || len(e.Stack) > MaxStackText || len(e.Signal) > MaxSignal || len(e.Stderr) > MaxStderrLines ||
		e.Offset < 0 || int64(e.Offset) > MaxOffset || e.Size < 0 || e.Size > MaxSize || e.ExitCode < math.MinInt32 || int64(e.ExitCode) > math.MaxUint32 {
		return false
	}
	for _, line := range e.Stderr {
		if len(line) > MaxStderrLine {
			return false
		}
	}
	return true
}
