package host_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
)

func TestNumbersThatCannotBeAreRefusedAtOnce(t *testing.T) {
	for want, cfg := range map[string]host.Config{
		"Workers": {Workers: math.MaxInt}, "Standby": {Standby: math.MaxInt}, "Threads": {Threads: math.MaxInt}, "Window": {Window: math.MaxInt},
	} {
		cfg.Workload = chaos
		p, err := host.Open(t.Context(), cfg)
		if err == nil {
			_ = p.Close()
		}
		if bad, ok := errors.AsType[*host.ConfigError](err); !ok || bad.Field != want {
			t.Errorf("Open with too much of %s: got %v, want a ConfigError that names it", want, err)
		}
	}
	p, err := host.Open(t.Context(), host.Config{Workload: chaos, Mode: host.Goroutine, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Resize(math.MaxInt); !errors.As(err, new(*host.ConfigError)) {
		t.Errorf("Resize: got %v, want a ConfigError", err)
	}
}

func TestMoreWorkersThanOpenFilesAllowAreRefused(t *testing.T) {
	out, err := under(t, "ulimit -n 100", hostCommand(t, "scarce")).Output()
	text := string(out)
	for _, want := range []string{"open: Config.Workers: 1000 worker processes", "resize: Config.Workers: 1000 worker processes", "limit of 100 (ulimit -n)", "few: <nil>"} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("got %s, %v, want %q in it", text, err, want)
		}
	}
	if strings.Count(text, "at most 6 ") < 1 {
		t.Errorf("got %s, want the number that is possible", text)
	}
}
