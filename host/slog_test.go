package host_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host"
)

func TestSlogLoggerKeepsWhatIsLogged(t *testing.T) {
	var out bytes.Buffer
	logger := host.SlogLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: slog.LevelDebug - 4, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})))
	named := logger.Named("pool").Named("sqrt").With("worker", 1, "item", 2)
	for want, write := range map[string]func(){
		`level=DEBUG-4 msg=m k=1`: func() { logger.Trace("m", "k", 1) },
		`level=DEBUG msg=m`:       func() { logger.Debug("m") },
		`level=WARN msg=m`:        func() { logger.Warn("m") },
		`level=ERROR msg=m`:       func() { logger.Error("m") },
		`level=INFO msg=m logger=pool.sqrt worker=1 item=2 k=v`: func() { named.Info("m", "k", "v") },
		`level=INFO msg=m logger=pool.sqrt worker=3 item=2`:     func() { named.With("worker", 3).Info("m") },
		`level=INFO msg=m k="1 of 2"`:                           func() { logger.Info("m", "k", hclog.Fmt("%d of %d", 1, 2)) },
		`level=INFO msg=line logger=pool.sqrt worker=1 item=2`:  func() { named.StandardLogger(nil).Print("line") },
		`level=WARN msg=line`: func() {
			logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}).Print("line")
		},
		``: func() { logger.Log(hclog.Off, "m") },
	} {
		out.Reset()
		write()
		if got := strings.TrimSpace(out.String()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if level := logger.GetLevel(); level != hclog.Trace {
		t.Errorf("level: got %v, want TRACE", level)
	}
	quiet := host.SlogLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if level := quiet.GetLevel(); level != hclog.Warn || quiet.IsInfo() || !quiet.IsError() {
		t.Errorf("a slog.Logger for warnings: got level %v", level)
	}
}
