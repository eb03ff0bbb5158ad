package main

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far a run is, on stderr.
type progress interface {
	step(done int)
	end()
}

// Lines of progress come at most this often, but for -v.
const lineEvery = 2 * time.Second

// newProgress returns the progress that --progress and -v ask for; total is -1 if nobody knows.
func newProgress(s *streams, o *options, total int) (progress, error) {
	kind := o.progress
	if kind == "auto" {
		switch {
		case o.verbose:
			kind = "lines"
		case isTerminal(s.err):
			kind = "bar"
		default:
			kind = "lines"
		}
	}
	switch kind {
	case "none":
		return noProgress{}, nil
	case "lines":
		every := lineEvery
		if o.verbose {
			every = 0
		}
		now := time.Now()
		return &lineProgress{say: s.say, total: total, every: every, begun: now, shown: now}, nil
	case "bar":
		return &barProgress{bar: progressbar.NewOptions(total,
			progressbar.OptionSetWriter(s.err),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("items"),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(30),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionSetRenderBlankState(false),
		)}, nil
	default:
		return nil, usageError("write --progress auto, bar, lines or none", "--progress %q is none", o.progress)
	}
}

// lineProgress writes lines in the manner of joblib. With every 0 it writes for about each tenth of the items or, where their
// number is not known, whenever it has doubled.
type lineProgress struct {
	say   func(format string, args ...any)
	total int
	every time.Duration
	begun time.Time
	shown time.Time
	next  int // number of items at which the next line is due
}

func (p *lineProgress) step(done int) {
	now := time.Now()
	if p.every > 0 {
		if now.Sub(p.shown) < p.every {
			return
		}
	} else if done < p.next && done != p.total {
		return
	}
	p.shown = now
	p.next = done + max(1, p.total/10)
	if p.total < 0 {
		p.next = 2 * done
	}
	elapsed := now.Sub(p.begun).Seconds()
	if p.total < 0 {
		p.say("Done %d | elapsed %.1fs", done, elapsed)
		return
	}
	remaining := elapsed / float64(max(1, done)) * float64(p.total-done)
	p.say("Done %d of %d | elapsed %.1fs | remaining %.1fs", done, p.total, elapsed, remaining)
}

func (p *lineProgress) end() {}

type barProgress struct{ bar *progressbar.ProgressBar }

func (p *barProgress) step(done int) { _ = p.bar.Set(done) } // drawing on stderr may fail; the run does not care
func (p *barProgress) end()          { _ = p.bar.Finish() }

type noProgress struct{}

func (noProgress) step(int) {}
func (noProgress) end()     {}
