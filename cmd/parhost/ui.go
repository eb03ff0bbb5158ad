package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dashboard"
	"github.com/parhost/parhost/host/telemetry/metrics"
	"github.com/parhost/parhost/internal/plain"
	"github.com/parhost/parhost/internal/wire"
)

// pages are the page of --ui and the page that --report writes. A nil pages shows nothing.
type pages struct {
	logs    *dashboard.Logs
	metrics *metrics.Exporter
	server  *dashboard.Server // nil without --ui
	keep    bool              // the page stays after the run
	steer   atomic.Pointer[steering]
	runs    []*shownRun
}

// shownRun is a run of a page.
type shownRun struct {
	*dashboard.Run
	summary atomic.Pointer[string] // nil before the run has ended
}

// openPages opens the page of --ui, if there is one, before anything runs.
func openPages(ctx context.Context, s *streams, o *options) (*pages, error) {
	if o.ui == "" && !isPage(o.report) {
		return nil, nil
	}
	p := &pages{metrics: new(metrics.Exporter), logs: &dashboard.Logs{Least: hclog.LevelFromString(o.logLevel)}, keep: o.uiKeep}
	if o.ui == "" {
		return p, nil
	}
	var err error
	p.server, err = dashboard.Open(ctx, dashboard.Config{
		Address: o.ui, Public: o.uiPublic, Logs: p.logs, Controls: p.controls(), Steerable: func() bool { return p.steer.Load() != nil }, Beside: map[string]http.Handler{"/metrics": p.metrics},
	})
	if err != nil {
		return nil, addressError("--ui", o.ui, err)
	}
	s.say("parhost: the run's page: %s", p.server.URL())
	return p, nil
}

// addressError says why a page cannot be served at the address of a flag.
func addressError(flag, address string, err error) error {
	if _, ok := errors.AsType[*dashboard.PublicError](err); ok {
		return usageError("write "+flag+" 127.0.0.1:PORT, or add --ui-public: there is no encryption", "%s %s can be reached from other machines", flag, address)
	}
	return usageError("give a free address, such as "+flag+" 127.0.0.1:0, which takes any free port", "%s %s: %v", flag, address, plain.Cause(err))
}

// controls returns keys that act on the pool of the moment.
func (p *pages) controls() dashboard.Controls {
	act := func(f func(*steering) error) error {
		if s := p.steer.Load(); s != nil {
			return f(s)
		}
		return errors.New("no run is under way that could be steered")
	}
	return dashboard.Controls{
		Pause:  func(paused bool) error { return act(func(s *steering) error { s.pause(paused); return nil }) },
		Resize: func(by int) error { return act(func(s *steering) error { return s.resize(by) }) },
		Drain:  func() error { return act(func(s *steering) error { s.drain(); return nil }) },
		Stack: func(ctx context.Context, worker int) (text string, err error) {
			err = act(func(s *steering) error {
				text, err = s.pool.Stack(ctx, worker)
				return err
			})
			return string(plainText([]byte(text))), err
		},
		Cancel: func(worker, item int) error {
			return act(func(s *steering) error { return s.pool.CancelItem(worker, item) })
		},
	}
}

// follow lets the keys of the page steer a run. The returned function ends that.
func (p *pages) follow(s *steering) (stop func()) {
	if p == nil {
		return func() {}
	}
	p.steer.Store(s)
	return func() { p.steer.Store(nil) }
}

// logger adds the page to the log.
func (p *pages) logger(logger hclog.InterceptLogger) hclog.Logger {
	if p == nil {
		return logger
	}
	logger.RegisterSink(p.logs)
	return logger
}

// add shows a run. It calls describe only if there is a page, because to describe a pool includes the checksum of its executable, which takes 20 ms.
func (p *pages) add(describe func() *dashboard.Run) *shownRun {
	if p == nil {
		return nil
	}
	run := describe()
	shown := &shownRun{Run: run}
	run.Ended = func() (string, bool) {
		if summary := shown.summary.Load(); summary != nil {
			return *summary, true
		}
		return "", false
	}
	p.runs = append(p.runs, shown)
	p.metrics.Add(run.Title, run.Label, run.Store)
	if p.server != nil {
		p.server.Add(run)
	}
	return shown
}

// end says that the run has ended.
func (r *shownRun) end(summary string) {
	if r != nil {
		r.Store.End()
		r.summary.Store(&summary)
	}
}

// report returns the page as a report.
func (p *pages) report() *dashboard.Report {
	r := &dashboard.Report{Logs: p.logs}
	for _, run := range p.runs {
		r.Runs = append(r.Runs, run.Run)
	}
	return r
}

// close ends the page. With --ui-keep it stays until an interrupt, if there is a run to look at that nobody interrupted. err is the command's error.
func (p *pages) close(s *streams, err error) {
	if p == nil || p.server == nil {
		return
	}
	code, _ := exitCode(err)
	if signals := endSignals(); p.keep && len(p.runs) > 0 && code != exitInterrupted && len(signals) > 0 { // NotifyContext without signals would catch all of them
		ctx, stop := signal.NotifyContext(context.Background(), signals...)
		if err != nil && !errors.Is(err, errSaid) {
			s.say("parhost: the run has ended with an error: %v", err)
		}
		s.say("parhost: the page stays until Ctrl-C: %s", p.server.URL())
		<-ctx.Done()
		stop()
	}
	_ = p.server.Close()
}

// page returns what the page shows of the run. The pool is open.
func (r *itemRun) page(pool *host.Pool, cfg *host.Config) *dashboard.Run {
	run := &dashboard.Run{
		Store: r.history, Label: string(cfg.Mode), Title: pool.Manifest().Name, Limit: cfg.Sandbox.MemoryBytes, Total: r.source.total, Replay: r.replayLine,
		Facts: factsOf(pool, cfg, r.seed),
	}
	return run
}

// factsOf returns what the page says of a pool in words.
func factsOf(pool *host.Pool, cfg *host.Config, seed uint64) []dashboard.Fact {
	m := pool.Manifest()
	facts := []dashboard.Fact{{Name: "plugin", Value: strings.TrimSpace(m.Name + " " + m.Version)}, {Name: "mode", Value: describeMode(cfg.Mode, poolWorkers(*cfg))}}
	if cfg.Plugin != "" {
		facts = append(facts, dashboard.Fact{Name: "executable", Value: cfg.Plugin})
	}
	if sum := pool.Checksum(); sum != "" {
		facts = append(facts, dashboard.Fact{Name: "SHA-256", Value: sum})
	}
	if level, layers := pool.Sandbox(); cfg.Mode == host.ModeProcess {
		facts = append(facts, dashboard.Fact{Name: "sandbox", Value: strings.Join(append([]string{level.String()}, layers...), ", ")})
	}
	if machine, err := os.Hostname(); err == nil {
		facts = append(facts, dashboard.Fact{Name: "machine", Value: machine})
	}
	return append(facts, dashboard.Fact{Name: "seed", Value: strconv.FormatUint(seed, 10)}, dashboard.Fact{Name: "parhost", Value: thisBuild().Version})
}

// replayLine returns a command line that runs a failed item again: from its dossier, if there is one. item is the text of an event; a text that was cut short
// cannot be given again.
func (r *itemRun) replayLine(place int, item string) string {
	if item == "" || strings.HasSuffix(item, "…") || !wire.IsJSON([]byte(item)) {
		return ""
	}
	if r.dossiers != nil {
		path := r.dossiers.files.Path(place, []byte(item))
		if _, err := os.Stat(path); err != nil { // it is written when the result is shown
			return ""
		}
		return "parhost replay " + quoteShell(path)
	}
	if r.bare { // else the command would lack what the run had, its sandbox above all
		return fmt.Sprintf("parhost --plugin %s -- %s", quoteShell(r.plugin), quoteShell(item))
	}
	return ""
}

// quoteShell quotes a word for a shell.
func quoteShell(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+,=-") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
