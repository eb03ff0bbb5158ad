package history_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/history"
	"github.com/parhost/parhost/sdk"
)

// odd fails on every tenth item and dies of every hundredth.
var odd = sdk.Func("odd", func(_ context.Context, n int) (int, error) {
	switch {
	case n%100 == 99 && os.Getenv("MAY_DIE") != "":
		os.Exit(3)
	case n%10 == 9:
		return 0, errors.New("no")
	}
	return n, nil
})

func TestMain(m *testing.M) {
	sdk.ServeChild(odd)
	goleak.VerifyTestMain(m)
}

// What a store says of a real run is what the run's results say, in every mode.
func TestAStoreAgreesWithTheResults(t *testing.T) {
	for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine, host.ModeSequential} {
		t.Run(string(mode), func(t *testing.T) {
			s := history.New()
			cfg := host.Config{Mode: mode, Workers: 2, Observer: s, Env: []string{"MAY_DIE=1"}}
			if mode == host.ModeSequential {
				cfg.Workers = 1
			}
			if mode != host.ModeProcess {
				cfg.Env = nil
			}
			p, err := host.OpenWorkload(t.Context(), odd, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			ok, failed, crashed := 0, 0, 0
			for r, err := range p.Stream(t.Context(), func(yield func(int) bool) {
				for n := range 1000 {
					if !yield(n) {
						return
					}
				}
			}) {
				switch {
				case err != nil:
					t.Fatal(err)
				case r.Err == nil:
					ok++
				default:
					failed++
					if r.Err.Kind == host.KindCrashed {
						crashed++
					}
				}
			}
			if err := p.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			totals := s.Totals()
			if totals.OK != ok || totals.Failed != failed || totals.Done() != 1000 || totals.Kinds[host.KindCrashed] != crashed || totals.Deaths[host.CauseExit] != crashed {
				t.Errorf("got %+v, want %d ok, %d failed and %d crashed", totals, ok, failed, crashed)
			}
			groups, _ := s.Failures()
			if len(groups) == 0 || groups[0].Message != "no" || groups[0].Count != failed-crashed || groups[0].First != 9 {
				t.Errorf("the largest group of failures: got %+v", groups)
			}
			busy, items, _ := sumOf(s.Timeline(0, 1<<63-1, 100))
			if items != 1000-crashed || busy <= 0 {
				t.Errorf("the timeline: got %d items in %v, want %d, without those that crashed", items, busy, 1000-crashed)
			}
			started, ended := 0, 0
			for _, l := range s.Lives() {
				if l.End {
					ended++
				} else {
					started++
				}
			}
			if started != totals.Starts || ended != started || totals.Replaced < started-cfg.Workers {
				t.Errorf("got %d starts and %d ends, and %+v", started, ended, totals)
			}
			if run, wait := s.Times(); run.Count() != 1000-crashed || wait.Count() != 1000-crashed {
				t.Errorf("got %d times of running and %d of waiting, want %d", run.Count(), wait.Count(), 1000-crashed)
			}
			if sent := totals.Traffic; mode == host.ModeProcess != (sent.Messages+sent.Arena > 8000) {
				t.Errorf("got %+v: only processes get their items sent", sent)
			}
		})
	}
}
