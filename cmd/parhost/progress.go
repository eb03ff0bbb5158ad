package main

import (
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far a run is, on stderr. step is called for every item, and must cost next to nothing.
type progress interface {
	step(done int)
	end()
}

const (
	lineEvery = 2 * time.Second // lines of progress come at most this often, but for -v
	drawEvery = 100 * time.Millisecond
)

// newProgress returns the progress that --progress and -v ask for; total is -1 if nobody knows.
func newProgress(s *streams, o *options, total int) (progress, error) {
	kind := o.progress
	if kind == "auto" {
		switch {
		case o.verbose:
			kind = "lines"
		case s.err.isTerminal():
			kind = "bar"
		default:
			kind = "lines"
		}
	}
	switch {
	case kind == "none":
		return noProgress{}, nil
	case kind == "lines" && o.verbose:
		return &verboseProgress{lines: lines{say: s.say, total: total, begun: time.Now()}}, nil
	case kind == "lines":
		return &lineProgress{lines: lines{say: s.say, total: total, begun: time.Now()}, bell: newBell(lineEvery)}, nil
	case kind == "bar":
		return &barProgress{bell: newBell(drawEvery), bar: progressbar.NewOptions(total,
			progressbar.OptionSetWriter(s.err.data()),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("items"),
			progressbar.OptionSetWidth(30),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionSetRenderBlankState(false),
		)}, nil
	default:
		return nil, usageError("write --progress auto, bar, lines or none", "--progress %q is none", o.progress)
	}
}

// lines writes in the manner of joblib.
type lines struct {
	say   func(format string, args ...any)
	total int
	begun time.Time
}

func (p *lines) write(done int) {
	elapsed := time.Since(p.begun).Seconds()
	if p.total < 0 {
		p.say("Done %d | elapsed %.1fs", done, elapsed)
		return
	}
	remaining := elapsed / float64(max(1, done)) * float64(p.total-done)
	p.say("Done %d of %d | elapsed %.1fs | remaining %.1fs", done, p.total, elapsed, remaining)
}

// bell says when it is time again. To ask it costs a nanosecond; to ask the clock, as looking at a ticker does, fifty of them.
type bell struct {
	every time.Duration
	rung  atomic.Bool
	timer *time.Timer
}

func newBell(every time.Duration) *bell {
	b := &bell{every: every}
	b.timer = time.AfterFunc(every, func() { b.rung.Store(true) })
	return b
}

// due reports whether it is time.
func (b *bell) due() bool {
	if !b.rung.Load() {
		return false
	}
	b.rung.Store(false)
	b.timer.Reset(b.every)
	return true
}

func (b *bell) stop() { b.timer.Stop() }

// lineProgress writes a line now and then.
type lineProgress struct {
	lines
	bell *bell
}

func (p *lineProgress) step(done int) {
	if p.bell.due() {
		p.write(done)
	}
}

func (p *lineProgress) end() { p.bell.stop() }

// verboseProgress writes a line for about each tenth of the items or, where their number is not known, whenever it has doubled.
type verboseProgress struct {
	lines
	next int // number of items at which the next line is due
}

func (p *verboseProgress) step(done int) {
	if done < p.next && done != p.total {
		return
	}
	p.next = done + max(1, p.total/10)
	if p.total < 0 {
		p.next = 2 * done
	}
	p.write(done)
}

func (p *verboseProgress) end() {}

// barProgress draws a bar.
type barProgress struct {
	bar  *progressbar.ProgressBar
	bell *bell
}

func (p *barProgress) step(done int) {
	if p.bell.due() {
		_ = p.bar.Set(done) // drawing on stderr may fail; the run does not care
	}
}

func (p *barProgress) end() {
	p.bell.stop()
	_ = p.bar.Finish()
}

type noProgress struct{}

func (noProgress) step(int) {}
func (noProgress) end()     {}
