package host_test

import (
	"context"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
)

// patience is how long a pool may take to end on a machine that is busy with something else.
const patience = time.Minute

// A Teardown that does not return is given up after its limit, whatever the set-up's is.
func TestShutdownGivesUpATeardownThatHangs(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Setenv("STATE_TEARDOWN", "hang")
			cfg := host.Config{
				Workload: stateful, Mode: mode, Env: []string{"STATE_TEARDOWN=hang"}, SetupTimeout: time.Hour,
				TeardownTimeout: 100 * time.Millisecond, Grace: 100 * time.Millisecond,
			}
			p := open(t, cfg)
			if mode != host.ModeProcess {
				defer leaveBehind()()
			}
			if _, err := typed[string, string](p).Map(t.Context(), []string{"x", "x"}); err != nil {
				t.Fatal(err)
			}
			within(t, "Shutdown", patience, func() {
				if err := p.Shutdown(context.Background()); err != nil {
					t.Errorf("Shutdown: got %v, want no error", err)
				}
			})
		})
	}
}

// A worker that is still in its set-up when the pool is to end is not needed any more.
func TestShutdownDoesNotWaitForSetups(t *testing.T) {
	for name, c := range map[string]struct {
		cfg   host.Config
		begin func(p *host.Pool) // begins the set-up that hangs
	}{
		"of a worker more": {host.Config{Workers: 1}, func(p *host.Pool) { _ = p.Resize(2) }},
		"of one in the place of another": {host.Config{Workers: 1, MaxItems: 1}, func(p *host.Pool) {
			_, _ = value(typed[string, string](p).Do(context.Background(), "x"))
			_, _ = value(typed[string, string](p).Do(context.Background(), "x"))
		}},
		"after a crash": {host.Config{Workers: 1}, func(p *host.Pool) {
			item := "exit"
			if p.Workers()[0].Mode != host.ModeProcess {
				item = "panic"
			}
			_, _ = value(typed[string, string](p).Do(context.Background(), item))
		}},
	} {
		for _, mode := range []host.Mode{host.ModeProcess, host.ModeGoroutine} {
			t.Run(name+", "+string(mode), func(t *testing.T) {
				log := t.TempDir() + "/log"
				t.Setenv("STATE_SETUP", "second hangs")
				t.Setenv("STATE_LOG", log)
				cfg := c.cfg
				cfg.Workload, cfg.Mode, cfg.Env, cfg.SetupTimeout = stateful, mode, []string{"STATE_SETUP=second hangs", "STATE_LOG=" + log}, time.Hour
				p := open(t, cfg)
				c.begin(p)
				waitFile(t, log+".later")
				within(t, "Shutdown", patience, func() {
					if err := p.Shutdown(context.Background()); err != nil {
						t.Errorf("Shutdown: got %v, want no error", err)
					}
				})
			})
		}
	}
}
