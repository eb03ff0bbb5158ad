package dashboard

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/history"
)

// Bounds of a task stream. Together they bound what a browser gets, and what it has to draw.
const (
	maxLanes = 256
	maxCells = 16384 // bins of all lanes together
	minCells = 64    // bins of a lane, however many lanes there are
)

// timeline is what a page shows of a span of time. All lists have one element for each bin.
type timeline struct {
	From   float64        `json:"from_ms"` // since the run began
	Width  float64        `json:"width_ms"`
	End    float64        `json:"end_ms"` // of what is known
	Lanes  []lane         `json:"lanes"`
	Hidden int            `json:"hidden_lanes,omitempty"`
	Items  []int          `json:"items"`
	Failed []int          `json:"failed"`
	RSS    []int64        `json:"rss"`  // of all workers together
	Most   []int64        `json:"most"` // of the largest worker
	CPU    []float64      `json:"cpu"`  // CPUs in use by workers
	Queued []int          `json:"queued"`
	Held   []int          `json:"held"`
	Waits  []string       `json:"waits"` // what the run waited for most
	Spans  []history.Span `json:"spans"` // the longest items, and the latest failed ones
	Deaths []history.Life `json:"deaths"`
}

// lane is a row of the task stream.
type lane struct {
	Worker int    `json:"worker"`
	Thread int    `json:"thread"`
	Busy   string `json:"busy"` // a letter for each bin: see shades
	Items  []int  `json:"items"`
	Failed []int  `json:"failed,omitempty"` // pairs: index of a bin, and how many failed there
}

// shades are letters for shares of time, from none to all.
const shades = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// timelineOf returns the time between from and to, in at most n bins.
func timelineOf(s *history.Store, from, to time.Duration, n int) timeline {
	view := s.Timeline(from, to, min(n, max(minCells, maxCells/max(1, min(maxLanes, s.Lanes())))))
	lanes := view.Lanes
	bins := len(view.Pool)
	t := timeline{
		From: millis(view.From), Width: millis(view.Width), End: millis(s.Last()), Hidden: max(0, len(lanes)-maxLanes), Lanes: []lane{},
		Items: make([]int, bins), Failed: make([]int, bins), RSS: make([]int64, bins), Most: make([]int64, bins), CPU: make([]float64, bins),
		Queued: make([]int, bins), Held: make([]int, bins), Waits: make([]string, bins),
	}
	lanes = withIdle(lanes, s.Workers(), bins)
	for i := range lanes {
		shown := t.add(&lanes[i], view.Width)
		if i < maxLanes {
			t.Lanes = append(t.Lanes, shown)
		}
	}
	for i := range view.Pool {
		p := &view.Pool[i]
		t.Queued[i], t.Held[i], t.Waits[i] = p.Queued, p.Held, history.Words(longest(p.Waits))
	}
	end := view.From + time.Duration(bins)*view.Width
	t.Spans = s.Spans(view.From, end, maxItems)
	failed := s.Failed()
	for _, f := range slices.Backward(failed) {
		if f.Begun <= end && f.Begun+f.Took >= view.From && len(t.Spans) < 2*maxItems {
			f.Message = plainText(f.Message)
			t.Spans = append(t.Spans, f)
		}
	}
	for _, l := range slices.Backward(s.Lives()) {
		if at := l.At.Sub(s.Begun()); l.End && l.Cause != "" && at >= view.From && at <= end && len(t.Deaths) < maxDeaths {
			l.Reason = plainText(l.Reason)
			t.Deaths = append(t.Deaths, l)
		}
	}
	return t
}

// withIdle adds a lane for each worker that has done nothing so far: it may be running its first item.
func withIdle(lanes []history.Lane, workers []history.Worker, bins int) []history.Lane {
	seen := map[int]bool{}
	for i := range lanes {
		seen[lanes[i].Worker] = true
	}
	for i := range workers {
		if w := &workers[i]; !seen[w.Worker] {
			seen[w.Worker] = true
			lanes = append(lanes, history.Lane{Worker: w.Worker, Bins: make([]history.Bin, bins)})
		}
	}
	slices.SortStableFunc(lanes, func(a, b history.Lane) int { return a.Worker - b.Worker })
	return lanes
}

// add adds a lane to the sums, and returns it as a page shows it.
func (t *timeline) add(l *history.Lane, width time.Duration) lane {
	shown := lane{Worker: l.Worker, Thread: l.Thread, Items: make([]int, len(l.Bins))}
	var busy strings.Builder
	for i := range l.Bins {
		b := &l.Bins[i]
		share := min(1, float64(b.Busy)/float64(width))
		shade := int(share * float64(len(shades)-1))
		if b.Busy > 0 {
			shade = max(1, shade)
		}
		busy.WriteByte(shades[shade])
		shown.Items[i] = int(b.Items)
		if b.Failed > 0 {
			shown.Failed = append(shown.Failed, i, int(b.Failed))
		}
		t.Items[i] += int(b.Items)
		t.Failed[i] += int(b.Failed)
		t.RSS[i] += b.RSS
		t.Most[i] = max(t.Most[i], b.RSS)
		t.CPU[i] += float64(b.CPU) / float64(width)
	}
	shown.Busy = busy.String()
	return shown
}

func longest(waits map[host.Wait]time.Duration) (wait host.Wait) {
	most := time.Duration(0)
	for _, w := range slices.Sorted(maps.Keys(waits)) {
		if waits[w] > most {
			wait, most = w, waits[w]
		}
	}
	return wait
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
