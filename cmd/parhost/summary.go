package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/history"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/wire"
)

// summary holds the numbers of a whole run.
type summary struct {
	Plugin  string             `json:"plugin"`
	SHA256  string             `json:"sha256,omitempty"` // of the executable
	Mode    host.Mode          `json:"mode"`
	Sandbox *sandboxFacts      `json:"sandbox,omitempty"` // nil for processes without sandbox and limits
	Workers int                `json:"workers"`
	Seed    uint64             `json:"seed"`
	Items   int                `json:"items"`
	OK      int                `json:"ok"`
	Failed  int                `json:"failed"`
	Resumed int                `json:"resumed,omitempty"` // how many of Items came from --joblog
	Kinds   map[host.Kind]int  `json:"failed_by_kind,omitempty"`
	Causes  map[host.Cause]int `json:"failed_by_cause,omitempty"` // causes of the worker deaths that failed items are blamed for

	WallSeconds      float64 `json:"wall_s"`
	StartSeconds     float64 `json:"start_s"`
	RunSeconds       float64 `json:"run_s"`
	ItemsPerSecond   float64 `json:"items_per_s"`
	DispatchMicros   float64 `json:"dispatch_us_per_item"`
	Batches          int     `json:"batches"`
	Retried          int     `json:"retried"`
	WorkersReplaced  int     `json:"workers_replaced"`
	Waits            []share `json:"waits,omitempty"` // what the run waited for, if it took a second or more
	Stopped          string  `json:"stopped,omitempty"`
	wall, start      time.Duration
	dispatchEachItem time.Duration
	reasons          map[reason]int // reasons of the failed items
}

// sandboxFacts describes the sandbox around each worker.
type sandboxFacts struct {
	Level  sandbox.Level `json:"level"`
	Layers []string      `json:"layers"`
}

// sandboxOf returns the sandbox of a pool, or nil if its workers have neither a sandbox nor limits.
func sandboxOf(p *host.Pool) *sandboxFacts {
	level, layers := p.Sandbox()
	if len(layers) == 0 {
		return nil
	}
	return &sandboxFacts{level, layers}
}

// words returns the text that follows the mode in a summary.
func (f *sandboxFacts) words() string {
	switch {
	case f == nil:
		return ""
	case f.Level == sandbox.Off:
		return " limited by " + strings.Join(f.Layers, ", ")
	default:
		return " in sandbox " + f.Level.String()
	}
}

// summarize takes the numbers from what a pool's history says.
func (s *summary) summarize(h *history.Store) {
	totals := h.Totals()
	s.RunSeconds = totals.Run.Seconds()
	s.Batches, s.Retried, s.WorkersReplaced = totals.Batches, totals.Retried, totals.Replaced
	if ran := s.Items - s.Resumed; ran > 0 {
		s.dispatchEachItem = totals.Dispatch / time.Duration(ran)
		s.DispatchMicros = float64(totals.Dispatch.Nanoseconds()) / 1000 / float64(ran)
	}
	s.WallSeconds, s.StartSeconds = s.wall.Seconds(), s.start.Seconds()
	if s.wall > 0 {
		s.ItemsPerSecond = float64(s.Items) / s.wall.Seconds()
	}
	s.Waits = sharesOf(h.Waits(), s.wall)
}

// waitsFrom is how long a run must have lasted before the summary says what it waited for. The waits are sampled ten times a second.
const waitsFrom = time.Second

// share is how much of a run's time it waited for one thing.
type share struct {
	For   host.Wait `json:"for"`
	Share float64   `json:"share"` // from 0 to 1
}

// sharesOf returns what a run waited for, the longest first.
func sharesOf(waits []history.Share, wall time.Duration) []share {
	all := time.Duration(0)
	for _, w := range waits {
		all += w.Took
	}
	if wall < waitsFrom || all == 0 {
		return nil
	}
	var shares []share
	for _, w := range waits {
		shares = append(shares, share{w.Wait, math.Round(1000*float64(w.Took)/float64(all)) / 1000})
	}
	return shares
}

// waited returns what the run waited for beside its workers, if that is worth a word.
func (s *summary) waited() string {
	var words []string
	for _, w := range s.Waits {
		if w.Share >= leastShare && w.For != host.WaitWorkers {
			words = append(words, fmt.Sprintf("%s %.0f%%", history.Words(w.For), 100*w.Share))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return " · waited for " + strings.Join(words, ", ")
}

// leastShare is the share of a run's time from which the summary says what the run waited for.
const leastShare = 0.05

// whole returns the summary line for people.
func (s *summary) whole() string { return wire.Count(s.Items, "item") + " · " + s.String() }

// String returns the summary line for people, without the number of items that precedes it.
func (s *summary) String() string {
	line := fmt.Sprintf("%d ok · %d failed%s · %s · %.3f s · %s items/s · dispatch %s/item",
		s.OK, s.Failed, s.failures(), describeMode(s.Mode, s.Workers)+s.Sandbox.words(), s.WallSeconds, short(s.ItemsPerSecond), micros(s.DispatchMicros))
	if s.Resumed > 0 {
		line += fmt.Sprintf(" · %d from the joblog", s.Resumed)
	}
	line += s.waited()
	if s.Stopped != "" {
		line += " · stopped: " + s.Stopped
	}
	return line
}

// short formats a number with three digits and a unit prefix, such as 2.44M.
func short(n float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= unit.size {
			return strconv.FormatFloat(n/unit.size, 'g', 3, 64) + unit.name
		}
	}
	return strconv.FormatFloat(n, 'g', 3, 64)
}

// micros formats a duration, given in microseconds, with at most three digits.
func micros(us float64) string {
	switch {
	case us >= 1e6:
		return strconv.FormatFloat(us/1e6, 'g', 3, 64) + " s"
	case us >= 1e3:
		return strconv.FormatFloat(us/1e3, 'g', 3, 64) + " ms"
	default:
		return strconv.FormatFloat(us, 'g', 3, 64) + " µs"
	}
}
