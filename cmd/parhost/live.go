package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/history"
	"github.com/parhost/parhost/internal/wire"
)

// The live view is shown by itself on a terminal of at least this size.
const (
	leastColumns = 80
	leastRows    = 16

	liveEvery = 200 * time.Millisecond
)

// isLarge reports whether there is room for the live view.
func (s *statusLine) isLarge() bool {
	width, height, known := s.size()
	return known && width >= leastColumns && height >= leastRows
}

// liveView is progress in several lines: how far the run is, what it waits for, and what each worker does.
type liveView struct {
	history *history.Store
	limit   int64                               // memory of a worker; 0 means none
	replay  func(place int, item string) string // returns a command that runs a failed item again; "" if there is none
	keys    atomic.Bool                         // keys have an effect
	armed   atomic.Pointer[armedKey]            // the key that was pressed once and has to be pressed again; nil if there is none
	shown   bool                                // as this run's progress
}

// lines returns the view, of at most height lines.
func (v *liveView) lines(o *outlook, width, height int) []string {
	state, totals := v.history.State(), v.history.Totals()
	lines := []string{o.bar(width), countsOf(&totals), history.Sentence(&state, func(d time.Duration) string { return inWords(d.Seconds()) })}
	var last []string
	if e, ok := v.history.LastFailure(); ok {
		failure := *e.Err
		failure.Index = e.Place // of a run of some items only, it is another number
		last = append(last, "last failure: "+strings.ReplaceAll(wire.Plain(failure.Error()), "\t", " "))
		if line := v.replay(e.Place, e.Item); line != "" {
			last = append(last, "to run it again: "+wire.Plain(line))
		}
	}
	switch armed := v.armed.Load(); {
	case armed != nil && armed.key == 'd':
		last = append(last, "d once more lets running items end and stops; any other key goes on")
	case armed != nil:
		last = append(last, fmt.Sprintf("k once more cancels item %d on worker %d; any other key goes on", armed.item.Item, armed.item.Worker))
	case v.keys.Load():
		last = append(last, "keys: p pause · + - workers · s stack or k cancel of the longest item · d stop")
	}
	return slices.Concat(lines, v.workers(o, height-len(lines)-len(last)), last)
}

// countsOf returns the numbers of a run, without those of what did not happen.
func countsOf(t *history.Totals) string {
	words := []string{fmt.Sprintf("%d ok", t.OK), fmt.Sprintf("%d failed", t.Failed)}
	if t.Retried > 0 {
		words = append(words, fmt.Sprintf("%d begun again", t.Retried))
	}
	if t.Resumed > 0 {
		words = append(words, fmt.Sprintf("%d from the joblog", t.Resumed))
	}
	if t.Replaced > 0 {
		replaced := fmt.Sprintf("%s replaced", wire.Count(t.Replaced, "worker"))
		var causes []string
		for _, cause := range slices.Sorted(maps.Keys(t.Deaths)) {
			causes = append(causes, fmt.Sprintf("%d died of %s", t.Deaths[cause], cause))
		}
		if len(causes) > 0 {
			replaced += " (" + strings.Join(causes, ", ") + ")"
		}
		words = append(words, replaced)
	}
	return strings.Join(words, " · ")
}

// workers returns a line for each worker, below a head, and at most room lines.
func (v *liveView) workers(o *outlook, room int) []string {
	workers := v.history.Workers()
	if len(workers) == 0 || room < 2 {
		return nil
	}
	hidden := 0
	if len(workers)+1 > room {
		hidden = len(workers) - (room - 2)
		workers = workers[:room-2]
	}
	const row = "%6s %8s  %-18s %7s %9s  %-18s %5s"
	rows := []string{fmt.Sprintf(row, "worker", "pid", "item", "for", "items", "memory", "CPU")}
	for i := range workers {
		w := &workers[i]
		item, took := "", ""
		switch {
		case len(w.Running) > 0:
			item, took = fmt.Sprint(w.Running[0].Index), inWords(time.Since(w.Running[0].Since).Seconds())
			if more := len(w.Running) - 1; more > 0 {
				item += fmt.Sprintf(" and %d more", more)
			}
		case w.Batches == 0:
			item = "idle"
		}
		if fraction, ok := o.fractions[w.Worker]; ok {
			item += fmt.Sprintf(" %.0f%%", 100*fraction)
		}
		memory, load := "", ""
		if w.RSS > 0 && w.Mode == host.ModeProcess {
			memory, load = humanize.IBytes(uint64(w.RSS)), fmt.Sprintf("%.0f%%", 100*w.Load)
			if v.limit > 0 {
				memory += " of " + humanize.IBytes(uint64(v.limit))
			}
		}
		rows = append(rows, fmt.Sprintf(row, fmt.Sprint(w.Worker), fmt.Sprint(w.PID), item, took, fmt.Sprint(w.Items), memory, load))
	}
	if hidden > 0 {
		rows = append(rows, fmt.Sprintf("… and %s more", wire.Count(hidden, "worker")))
	}
	return rows
}
