package history

import (
	"fmt"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/wire"
)

// Words returns what a run waits for in words, to be read after "waiting for". It returns "" for [host.WaitNothing] and [host.WaitWorkers].
func Words(w host.Wait) string {
	switch w {
	case host.WaitStart:
		return "the start of workers"
	case host.WaitRestart:
		return "the next try to start workers"
	case host.WaitInput:
		return "input"
	case host.WaitOrder:
		return "the item that is next in order"
	case host.WaitReader:
		return "results to be taken"
	case host.WaitRetry:
		return "the next attempt of items"
	case host.WaitPaused:
		return "the end of a pause"
	case WaitJoblog:
		return "the joblog"
	case WaitStdout:
		return "the reader of stdout"
	default:
		return ""
	}
}

// longItem is how long an item must have been running to be named as what a run waits for.
const longItem = time.Second

// Sentence says in a sentence, without a full stop, what a run in this state waits for. It is empty if nothing is under way. took returns a duration as text.
func Sentence(s *host.State, took func(time.Duration) string) string {
	w := s.Waiting
	line := "waiting for " + Words(w.For)
	switch w.For {
	case host.WaitNothing:
		return ""
	case host.WaitWorkers:
		line = "every worker has work"
		for _, info := range s.Workers {
			if info.Batches < max(1, info.Threads) && !info.Standby && !info.Ending {
				line = "waiting for the items that are left"
			}
		}
	}
	if s.Paused && w.For != host.WaitPaused {
		line = "paused: running items end, and no others begin"
	}
	if running := time.Since(w.Since); w.Worker > 0 && running > longItem && (w.For == host.WaitWorkers || w.For == host.WaitOrder) {
		line += fmt.Sprintf("; item %d has been running for %s on worker %d", w.Item, took(running), w.Worker)
	}
	if s.Starting > 0 {
		line += fmt.Sprintf("; %s starting", wire.Count(s.Starting, "worker"))
	}
	return line
}
