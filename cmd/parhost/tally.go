package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// tally sums up the events of a pool.
type tally struct {
	mu       sync.Mutex
	starts   []time.Duration // start times of the first worker in each place
	replaced int
	retried  int
	run      time.Duration // time in workloads, summed over all workers
	dispatch time.Duration // time that batches took beyond the workload's own time, summed over all workers
	last     map[int]time.Time
	batches  int
}

func newTally() *tally { return &tally{last: map[int]time.Time{}} }

// Observe is part of [host.Observer].
func (t *tally) Observe(event host.Event) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e := event.(type) {
	case host.WorkerStarted:
		if e.Replace {
			t.replaced++
		} else {
			t.starts = append(t.starts, e.Took)
		}
	case host.ItemRetried:
		t.retried++
	case host.BatchDone:
		// The time that a batch waited in its worker behind another batch is not dispatch time, so the measurement begins when that other batch was
		// done.
		begun := now.Add(-e.Trip)
		if last := t.last[e.Worker]; last.After(begun) {
			begun = last
		}
		t.last[e.Worker] = now
		t.dispatch += max(0, now.Sub(begun)-e.Run)
		t.run += e.Run
		t.batches++
	}
}

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

func (t *tally) summarize(sum *summary) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum.RunSeconds = t.run.Seconds()
	sum.Batches, sum.Retried, sum.WorkersReplaced = t.batches, t.retried, t.replaced
	if ran := sum.Items - sum.Resumed; ran > 0 {
		sum.dispatchEachItem = t.dispatch / time.Duration(ran)
		sum.DispatchMicros = float64(t.dispatch.Nanoseconds()) / 1000 / float64(ran)
	}
	sum.WallSeconds, sum.StartSeconds = sum.wall.Seconds(), sum.start.Seconds()
	if sum.wall > 0 {
		sum.ItemsPerSecond = float64(sum.Items) / sum.wall.Seconds()
	}
}

// String returns the summary line for people, without the number of items that precedes it.
func (s *summary) String() string {
	line := fmt.Sprintf("%d ok · %d failed%s · %s · %.3f s · %s items/s · dispatch %s/item",
		s.OK, s.Failed, s.failures(), describeMode(s.Mode, s.Workers)+s.Sandbox.words(), s.WallSeconds, short(s.ItemsPerSecond), micros(s.DispatchMicros))
	if s.Resumed > 0 {
		line += fmt.Sprintf(" · %d from the joblog", s.Resumed)
	}
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
