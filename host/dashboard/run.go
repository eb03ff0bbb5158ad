package dashboard

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/history"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/wire"
)

// Run is what a page shows of one run. The fields must not change once the run has been given to a [Server].
type Run struct {
	Store  *history.Store
	Label  string // names the run among others, such as "process"
	Title  string // what the run is of, such as the name of its plugin
	Facts  []Fact // what else is known of it, in the order in which it is shown
	Limit  int64  // bytes of memory that a worker may have; 0 means no limit
	Total  func() (items int, estimate bool)
	Replay func(place int, item string) string // returns a command line that runs a failed item again; "" if there is none
	Ended  func() (summary string, ok bool)    // returns a summary of the whole run once it has ended
}

// Fact is a line about a run, such as {"sandbox", "strict"}.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Most that a page gets of something at a time.
const (
	maxGroups  = 32
	maxWorkers = 256
	maxDeaths  = 200
	maxItems   = 400 // that are named one by one in a task stream
	maxText    = 500 // bytes of a message
)

// view is what a page shows of a run at one moment, except for the timeline.
type view struct {
	Label    string         `json:"label"`
	Title    string         `json:"title"`
	Facts    []Fact         `json:"facts"`
	Now      int64          `json:"now_ms"` // since the run began
	Begun    time.Time      `json:"begun"`
	Ended    bool           `json:"ended"`
	Summary  string         `json:"summary,omitempty"`
	Total    int            `json:"total"` // -1 if unknown
	Estimate bool           `json:"estimate,omitempty"`
	Totals   history.Totals `json:"totals"`
	Done     int            `json:"done"`
	Waiting  string         `json:"waiting"`
	For      host.Wait      `json:"for"`
	Paused   bool           `json:"paused,omitempty"`
	Queued   int            `json:"queued"`
	Held     int            `json:"held"`
	Waits    []wait         `json:"waits"`
	Limit    int64          `json:"limit,omitempty"`
	Workers  []workerView   `json:"workers"`
	Hidden   int            `json:"hidden_workers,omitempty"`
	Run      histogram      `json:"run"`
	Wait     histogram      `json:"wait"`
	Slowest  []history.Item `json:"slowest"`
	Failures []failureView  `json:"failures"`
	Others   int            `json:"other_failures,omitempty"`
}

type wait struct {
	Words string  `json:"words"`
	Share float64 `json:"share"` // of all time, from 0 to 1
}

type workerView struct {
	Worker   int      `json:"worker"`
	PID      int      `json:"pid"`
	Mode     string   `json:"mode"`
	Item     int      `json:"item"` // -1 if none is known
	For      int64    `json:"for_ms"`
	More     int      `json:"more,omitempty"` // items that run besides
	Progress *float64 `json:"progress,omitempty"`
	Items    int      `json:"items"`
	Batches  int      `json:"batches"`
	RSS      int64    `json:"rss"`
	Load     float64  `json:"load"`
	Starts   int      `json:"starts"`
	Deaths   string   `json:"deaths,omitempty"` // causes
}

type histogram struct {
	Count int           `json:"count"`
	P50   int64         `json:"p50_ns"`
	P99   int64         `json:"p99_ns"`
	Max   int64         `json:"max_ns"`
	Bars  []history.Bar `json:"bars"`
}

type failureView struct {
	history.FailureGroup
	Replay string `json:"replay,omitempty"`
}

// view returns what is known of the run now.
func (r *Run) view() view {
	s := r.Store
	state, totals := s.State(), s.Totals()
	v := view{
		Label: r.Label, Title: r.Title, Facts: r.Facts, Begun: s.Begun(), Now: time.Since(s.Begun()).Milliseconds(), Total: -1, Totals: totals, Done: totals.Done(),
		For: state.Waiting.For, Waiting: history.Sentence(&state, words), Paused: state.Paused, Queued: state.Queued, Held: state.Held, Limit: r.Limit,
		Slowest: s.Slowest(),
	}
	if r.Total != nil {
		v.Total, v.Estimate = r.Total()
	}
	if r.Ended != nil {
		if v.Summary, v.Ended = r.Ended(); v.Ended {
			v.Now, v.Waiting = s.Last().Milliseconds(), ""
		}
	}
	v.Waits = waitsOf(s.Waits())
	v.workers(r)
	run, waited := s.Times()
	v.Run, v.Wait = histogramOf(&run), histogramOf(&waited)
	groups, others := s.Failures()
	for _, g := range groups[min(maxGroups, len(groups)):] {
		others += g.Count
	}
	v.Others = others
	for _, g := range groups[:min(maxGroups, len(groups))] {
		f := failureView{FailureGroup: g}
		f.Message = plainText(g.Message)
		if r.Replay != nil {
			f.Replay = r.Replay(g.First, g.Item)
		}
		v.Failures = append(v.Failures, f)
	}
	return v
}

// words returns a duration for people.
func words(d time.Duration) string {
	if d < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// plainText bounds a message, and makes control characters visible.
func plainText(s string) string { return wire.Plain(bound.Text(s, maxText)) }

func waitsOf(shares []history.Share) []wait {
	all := time.Duration(0)
	for _, s := range shares {
		all += s.Took
	}
	list := []wait{}
	for _, s := range shares {
		w := wait{Words: cmp.Or(history.Words(s.Wait), "workers, which had work"), Share: float64(s.Took) / float64(max(1, all))}
		list = append(list, w)
	}
	return list
}

func (v *view) workers(r *Run) {
	lives := r.Store.Lives()
	progress := r.Store.Progress()
	v.Workers = []workerView{}
	workers := r.Store.Workers()
	if v.Ended {
		workers = nil // none is left
	}
	v.Hidden = max(0, len(workers)-maxWorkers)
	for _, w := range workers[:min(maxWorkers, len(workers))] {
		row := workerView{Worker: w.Worker, PID: w.PID, Mode: string(w.Mode), Item: -1, Items: w.Items, Batches: w.Batches, RSS: w.RSS, Load: w.Load}
		if len(w.Running) > 0 {
			row.Item, row.For, row.More = w.Running[0].Index, time.Since(w.Running[0].Since).Milliseconds(), len(w.Running)-1
		}
		if fraction, ok := progress[w.Worker]; ok {
			row.Progress = &fraction
		}
		var causes []string
		for i := range lives {
			if l := &lives[i]; l.Worker == w.Worker {
				if !l.End {
					row.Starts++
				} else if l.Cause != "" {
					causes = append(causes, string(l.Cause))
				}
			}
		}
		row.Deaths = countWords(causes)
		v.Workers = append(v.Workers, row)
	}
}

// countWords returns equal words once, with their number.
func countWords(list []string) string {
	slices.Sort(list)
	var parts []string
	for len(list) > 0 {
		n := 0
		for n < len(list) && list[n] == list[0] {
			n++
		}
		parts = append(parts, times(n)+list[0])
		list = list[n:]
	}
	return strings.Join(parts, ", ")
}

func histogramOf(h *history.Histogram) histogram {
	return histogram{Count: h.Count(), P50: int64(h.Quantile(0.5)), P99: int64(h.Quantile(0.99)), Max: int64(h.Longest()), Bars: h.Bars()}
}

func times(n int) string {
	if n == 1 {
		return ""
	}
	return strconv.Itoa(n) + " × "
}
