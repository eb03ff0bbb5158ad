package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dashboard"
	"github.com/parhost/parhost/host/history"
	"github.com/parhost/parhost/host/joblog"
	"github.com/parhost/parhost/internal/wire"
)

func newReport(s *streams) *cobra.Command {
	var output, maxResult string
	cmd := &cobra.Command{
		Use:   "report JOBLOG",
		Short: "make the page of a run from its joblog",
		Long: `Make the page that --report writes from the joblog of a run: also of a run that was killed, that still goes on, or that ran on another machine.
The joblog says which items ran where, when and for how long, and which failed. It does not have the items themselves, the memory of
workers, and what the run waited for.`,
		Example: `  parhost --plugin ./render --input frames.jsonl --joblog render.joblog
  parhost report render.joblog -o render.html`,
		Args: between(1, 1, "parhost report run.joblog -o run.html"),
		RunE: func(_ *cobra.Command, args []string) error {
			if output == "" {
				output = args[0] + ".html"
			}
			if !isPage(output) {
				return usageError("write -o run.html", "-o %q: a report is an .html file", output)
			}
			most, err := messageSize("max-result-bytes", maxResult)
			if err != nil {
				return err
			}
			return reportJoblog(s, args[0], output, most)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "the `file` to write (default the joblog's name with .html)")
	cmd.Flags().StringVar(&maxResult, "max-result-bytes", "64MiB", "the most bytes of a result, as for the run")
	return withExitCodes(cmd, "  0  the page is written\n  1  it cannot be written\n  2  wrong usage, or the file is no joblog\n")
}

// reportJoblog writes the page of a joblog.
func reportJoblog(s *streams, path, output string, maxResultBytes int) error {
	if err := checkReport("-o", output); err != nil {
		return err
	}
	if source, err := os.Stat(path); err == nil {
		if target, err := os.Stat(output); err == nil && os.SameFile(source, target) {
			return usageError("write -o another file", "-o %q is the joblog itself", output)
		}
	}
	file, err := openReport(s, "-o", output)
	if err != nil {
		return err
	}
	defer file.close()
	past, about, err := readPast(path, maxResultBytes)
	if long, ok := errors.AsType[*joblog.LineError](err); ok {
		return usageError("give the run's --max-result-bytes", "%v", long)
	}
	if err != nil {
		return usageError("", "%v", err)
	}
	if about.Damaged > 0 {
		s.say("parhost: warning: %s of joblog %q could not be read and are left out", wire.Count(about.Damaged, "line"), path)
	}
	if about.TornBytes > 0 {
		s.say("parhost: warning: the last line of joblog %q is incomplete and is left out: the run was killed, or still goes on", path)
	}
	if past.untimed > 0 {
		s.say("parhost: warning: %s of joblog %q do not say when they ran; the page shows them one after the other", wire.Count(past.untimed, "record"), path)
	}
	var page dashboard.Report
	page.Runs = []*dashboard.Run{past.page(path, &about)}
	if err := file.write(nil, func() *dashboard.Report { return &page }); err != nil {
		return &exitError{code: exitFailed, err: err}
	}
	return nil
}

// past is a run as its joblog tells it.
type past struct {
	store   *history.Store
	at      time.Time                // of the latest records
	group   map[int][]*joblog.Record // the records of that time, by worker
	untimed int                      // records that do not say when they were made
}

// readPast reads a joblog.
func readPast(path string, maxResultBytes int) (*past, joblog.Reading, error) {
	p := &past{group: map[int][]*joblog.Record{}}
	about, err := joblog.Read(path, maxResultBytes, func(r *joblog.Record) error {
		p.add(r)
		return nil
	})
	p.flush()
	if p.store == nil {
		p.store = history.NewAt(about.Began)
	}
	return p, about, err
}

// maxGroup bounds the records of one time that are kept in memory.
const maxGroup = 10_000

// add adds a record.
func (p *past) add(r *joblog.Record) {
	if p.store == nil {
		p.store, p.at = history.NewAt(r.Began), r.Began
	}
	at := r.At
	if at.IsZero() {
		p.untimed++
		at = latest(p.at, r.Began).Add(r.Result.Run)
	}
	if at != p.at || len(p.group[r.Result.Worker]) == maxGroup {
		p.flush()
	}
	p.at = at
	own := *r
	own.Result.Value = nil // which is not shown
	p.group[r.Result.Worker] = append(p.group[r.Result.Worker], &own)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// flush gives the store what was recorded at one time. Items of a worker that were recorded together ran one after the other, and the last one ended shortly
// before.
func (p *past) flush() {
	for _, worker := range slices.Sorted(maps.Keys(p.group)) {
		begun := p.at
		for _, r := range p.group[worker] {
			begun = begun.Add(-r.Result.Run)
		}
		for _, r := range p.group[worker] {
			begun = begun.Add(r.Result.Run)
			p.tell(r, begun)
		}
	}
	clear(p.group)
}

// tell gives the store a record of an item that ended at a time.
func (p *past) tell(r *joblog.Record, at time.Time) {
	result := &r.Result
	switch attempt := (host.Attempt{Input: 1, Place: result.Index, Err: result.Err, Worker: result.Worker, Took: result.Run, Blamed: result.Err != nil}); {
	case result.Err == nil:
		p.store.Observe(host.BatchDone{At: at, Worker: result.Worker, PID: result.PID, Input: 1, First: result.Index, Items: 1, Wait: result.Wait, Trip: result.Run, Run: result.Run})
	case r.Replaced:
		p.store.Observe(host.ItemRetried{At: at, Attempt: attempt})
	default:
		p.store.Observe(host.ItemFailed{At: at, Attempt: attempt})
	}
	if e := result.Err; e != nil && e.Cause != "" {
		p.store.Observe(host.WorkerEnded{At: at, Worker: result.Worker, PID: result.PID, Reason: e.Message, Cause: e.Cause})
	}
}

// page returns what the page shows of the run.
func (p *past) page(path string, about *joblog.Reading) *dashboard.Run {
	totals := p.store.Totals()
	items := totals.OK + totals.Failed
	facts := []dashboard.Fact{
		{Name: "joblog", Value: path}, {Name: "executable", Value: about.Origin.Plugin}, {Name: "SHA-256", Value: about.Origin.SHA256}, {Name: "written by", Value: about.Program},
	}
	if about.Origin.Seed != nil {
		facts = append(facts, dashboard.Fact{Name: "seed", Value: strconv.FormatUint(*about.Origin.Seed, 10)})
	}
	summary := fmt.Sprintf("%s · %d ok · %d failed · in the joblog", wire.Count(items, "item"), totals.OK, totals.Failed)
	return &dashboard.Run{
		Store: p.store, Label: "joblog", Title: cmp.Or(about.Origin.Workload, filepath.Base(about.Origin.Plugin)), Facts: facts,
		Ended: func() (string, bool) { return summary, true },
	}
}
