package dossier

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/wire"
)

// check returns an error if no run could have written this dossier. Fields that people leave out of a dossier written by hand may be missing. The
// check is needed because anybody may have written the file, its texts are shown on a terminal, and its numbers go into the configuration of a pool.
func (d *Dossier) check() error {
	e := host.ItemError{
		Kind: cmp.Or(d.Kind, host.KindFailed), Message: d.Message, Offset: d.Offset, Size: d.Size, Signal: d.Signal, Cause: d.Cause, Stderr: d.Stderr,
	}
	if d.ExitCode != nil {
		e.ExitCode = *d.ExitCode
	}
	switch {
	case !wire.Possible(&e):
		return fmt.Errorf("no item can have failed as it says: kind %.40q, cause %.40q, a message of %d bytes", d.Kind, d.Cause, len(d.Message))
	case d.Mode != "" && d.Mode != host.ModeProcess && d.Mode != host.ModeGoroutine && d.Mode != host.ModeSequential:
		return fmt.Errorf("mode %.40q is none", d.Mode)
	case outside(d.Index, maxIndex) || outside(d.Attempts, math.MaxInt32) || outside(d.Worker, math.MaxInt32) || outside(d.PID, math.MaxUint32):
		return errors.New("index, attempts, worker or pid is out of range")
	}
	l := &d.Limits
	switch {
	case outside(l.Retries, math.MaxInt32) || outside(l.Threads, math.MaxInt32) || outside(l.MaxItemBytes, maxLimit) || outside(l.MaxResultBytes, maxLimit):
		return errors.New("a limit is out of range")
	case l.ItemTimeoutSeconds < 0 || l.ItemTimeoutSeconds > time.Duration(math.MaxInt64).Seconds()/2:
		return fmt.Errorf("item_timeout_s is %g, which is out of range", l.ItemTimeoutSeconds)
	case l.ItemCPUSeconds < 0 || l.ItemCPUSeconds > time.Duration(math.MaxInt64).Seconds()/2:
		return fmt.Errorf("item_cpu_s is %g, which is out of range", l.ItemCPUSeconds)
	}
	for _, text := range []string{d.Origin.Workload, d.Origin.SHA256, d.Origin.Plugin} {
		if len(text) > wire.MaxMessageText {
			return fmt.Errorf("where it comes from takes %d bytes, the limit is %d", len(text), wire.MaxMessageText)
		}
	}
	return nil
}

// maxIndex is the largest index: JSON readers that use float64 read it exactly.
const maxIndex = 1<<53 - 1

// maxLimit is larger than any item or result, in bytes.
const maxLimit = 1 << 40

func outside(n int, limit int64) bool { return n < 0 || int64(n) > limit }
