package main

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parhost/parhost/host/history"
)

// progress shows on stderr how far a run is.
type progress interface {
	// begin starts the display. total returns the number of items, -1 if unknown, and whether the number is an estimate.
	begin(total func() (n int, estimate bool))
	// step is called after every item with the number of finished items, so it must be very fast.
	step(done int)
	end()
}

const (
	lineEvery = 2 * time.Second // shortest time between two lines of progress, except with -v
	drawEvery = 100 * time.Millisecond
)

// newProgress returns the progress display for --progress and -v.
func newProgress(s *streams, o *options, events *history.Store, view *liveView) (progress, error) {
	kind := o.progress
	if kind == "auto" {
		kind = s.progressKind(o)
	}
	finished := func() int { // also those whose results wait for the order
		totals := events.Totals()
		return totals.Done()
	}
	switch {
	case kind == "none":
		return noProgress{}, nil
	case kind == "lines" && o.verbose:
		p := &verboseProgress{state: state{history: events}, say: s.say}
		p.done = func() int { return p.last }
		return p, nil
	case kind == "lines", (kind == "bar" || kind == "live") && s.status == nil: // a file has no line that could be redrawn
		return &shown{state: state{history: events, done: finished}, every: lineEvery, show: func(p *state) { s.say("Done %s", p.line()) }, clear: func() {}}, nil
	case kind == "bar":
		return &shown{state: state{history: events, done: finished}, every: drawEvery, show: func(p *state) {
			o := p.look()
			s.status.draw(func(width, _ int) []string { return []string{o.bar(width)} })
		}, clear: s.status.clear, atOnce: true}, nil
	case kind == "live":
		view.shown = true
		return &shown{state: state{history: events, done: finished}, every: liveEvery, show: func(p *state) {
			o := p.look()
			s.status.draw(func(width, height int) []string { return view.lines(&o, width, height) })
		}, clear: s.status.clear}, nil
	default:
		return nil, usageError("write --progress auto, live, bar, lines or none", "--progress %q is none", o.progress)
	}
}

// progressKind returns how progress is shown if the user does not say how.
func (s *streams) progressKind(o *options) string {
	switch {
	case s.status == nil, o.verbose, os.Getenv("TERM") == "dumb":
		return "lines"
	case s.status.isLarge() && os.Getenv("TERM") != "" && !s.out.isPiped(): // a pager would show results on the same terminal
		return "live"
	default:
		return "bar"
	}
}

// state is how far a run is.
type state struct {
	history *history.Store
	done    func() int // returns the number of finished items
	total   func() (n int, estimate bool)
	begun   time.Time
	pace    pace
}

// pace is the recent number of finished items per second.
type pace struct {
	at   time.Time
	done float64
	rate float64
}

// paceMemory is the time after which the weight of an old rate has fallen to 1/e, about a third.
const paceMemory = 5 * time.Second

// look updates the pace. Each running item counts with the fraction of it that is done.
func (p *pace) look(now time.Time, done float64) {
	passed := now.Sub(p.at)
	if passed <= 0 {
		return
	}
	rate := (done - p.done) / passed.Seconds()
	keep := math.Exp(-float64(passed) / float64(paceMemory))
	p.rate = max(0, keep*p.rate+(1-keep)*rate)
	p.at, p.done = now, done
}

// maxLeft is the longest estimate in seconds that is shown. When nothing has ended for long, the pace tends to zero.
const maxLeft = 100 * 24 * 3600

// paceFrom is how long a run must have lasted before its pace is shown.
const paceFrom = time.Second

// outlook is what the display shows of a run.
type outlook struct {
	done, total int // total is -1 if unknown
	estimate    bool
	elapsed     time.Duration
	rate        float64 // items per second; 0 if not known yet
	left        float64 // remaining seconds; negative if unknown
	running     []float64
	fractions   map[int]float64 // the same by worker
}

func (p *state) look() outlook {
	now := time.Now()
	o := outlook{done: p.done(), elapsed: now.Sub(p.begun), left: -1}
	o.fractions = p.history.Progress()
	for _, worker := range slices.Sorted(maps.Keys(o.fractions)) {
		o.running = append(o.running, o.fractions[worker])
	}
	o.total, o.estimate = p.total()
	if o.estimate {
		o.total = max(o.total, o.done)
	}
	through := float64(o.done)
	for _, fraction := range o.running {
		through += fraction
	}
	p.pace.look(now, through)

	if o.elapsed < paceFrom || through == 0 {
		return o
	}
	// The moving average starts at 0. The division removes this start value, which still has weight early in the run.
	o.rate = p.pace.rate / (1 - math.Exp(-float64(o.elapsed)/float64(paceMemory)))
	if o.total >= 0 && o.rate > 0 {
		if o.left = max(0, float64(o.total)-through) / o.rate; o.left > maxLeft {
			o.left = -1
		}
	}
	return o
}

// count returns "12 of 20", "12 of ~20" or "12".
func (o *outlook) count() string {
	switch {
	case o.total < 0:
		return fmt.Sprint(o.done)
	case o.estimate:
		return fmt.Sprintf("%d of ~%d", o.done, o.total)
	default:
		return fmt.Sprintf("%d of %d", o.done, o.total)
	}
}

// maxShown is how many running items are shown one by one.
const maxShown = 4

// now describes the progress of the running items. It returns "" if no item reports any.
func (o *outlook) now() string {
	var words []string
	for _, fraction := range o.running[:min(len(o.running), maxShown)] {
		words = append(words, fmt.Sprintf("%.0f%%", 100*fraction))
	}
	if more := len(o.running) - len(words); more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return strings.Join(words, " ")
}

// line returns a line of progress in the style of joblib, without the leading "Done".
func (p *state) line() string {
	o := p.look()
	line := fmt.Sprintf("%s | elapsed %.1fs", o.count(), o.elapsed.Seconds())
	if o.left < 0 && o.total >= 0 && o.done > 0 { // too early for a pace, so use the mean
		o.left = o.elapsed.Seconds() / float64(o.done) * float64(o.total-o.done)
	}
	if o.left >= 0 {
		line += fmt.Sprintf(" | remaining %.1fs", o.left)
	}
	if now := o.now(); now != "" {
		line += " | running " + now
	}
	return line
}

// A bar has at least barLeast and at most barMost columns. Where there is less room, there is no bar.
const (
	barMost  = 30
	barLeast = 8
)

// bar returns the progress bar, a line of at most width columns.
func (o *outlook) bar(width int) string {
	parts := []string{o.count()}
	if o.total > 0 {
		parts[0] = fmt.Sprintf("%3.0f%% %s", 100*float64(min(o.done, o.total))/float64(o.total), parts[0])
	}
	for _, part := range []struct {
		known bool
		text  string
	}{
		{o.left >= 0, inWords(o.left) + " left"},
		{o.rate > 0, short(o.rate) + " items/s"},
		{o.rate == 0, inWords(o.elapsed.Seconds())},
		{len(o.running) > 0, "running " + o.now()},
	} {
		if part.known {
			parts = append(parts, part.text)
		}
	}
	line := parts[0]
	for _, part := range parts[1:] {
		if len(line)+2+len(part) > width {
			break
		}
		line += ", " + part
	}
	if room := min(barMost, width-len(line)-3); o.total > 0 && room >= barLeast {
		full := room * min(o.done, o.total) / o.total
		line = "[" + strings.Repeat("#", full) + strings.Repeat(" ", room-full) + "] " + line
	}
	return line
}

// inWords formats a duration in its two largest units.
func inWords(seconds float64) string {
	if seconds > 100*24*3600 {
		return "months"
	}
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", seconds)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
}

// shown is progress that is displayed again at a fixed interval, even while no item finishes.
type shown struct {
	state
	every  time.Duration
	show   func(*state)
	clear  func()
	atOnce bool

	stop  chan struct{} // nil before begin
	ended sync.WaitGroup
}

func (p *shown) begin(total func() (int, bool)) {
	p.total, p.begun, p.stop = total, time.Now(), make(chan struct{})
	p.pace.at = p.begun
	p.ended.Go(func() {
		if p.atOnce {
			p.show(&p.state)
		}
		ticker := time.NewTicker(p.every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.show(&p.state)
			case <-p.stop:
				return
			}
		}
	})
}

func (p *shown) step(int) {}

func (p *shown) end() {
	close(p.stop)
	p.ended.Wait()
	p.clear()
}

// verboseProgress prints a line for about every tenth of the items. If the number of items is unknown, it prints a line whenever the number of
// finished items has doubled.
type verboseProgress struct {
	state
	say  func(format string, args ...any)
	last int // number of finished items
	next int // number of finished items at which the next line is due
}

func (p *verboseProgress) begin(total func() (int, bool)) {
	p.total, p.begun = total, time.Now()
	p.pace.at = p.begun
}

func (p *verboseProgress) step(done int) {
	if done < p.next {
		if total, estimate := p.total(); estimate || done != total {
			return
		}
	}
	total, estimate := p.total()
	if p.next = done + max(1, total/10); total < 0 || estimate {
		p.next = 2 * done
	}
	p.last = done
	p.say("Done %s", p.line())
}

func (p *verboseProgress) end() {}

type noProgress struct{}

func (noProgress) begin(func() (int, bool)) {}
func (noProgress) step(int)                 {}
func (noProgress) end()                     {}
