package sdk

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/work"
)

// processLogger is the logger of the worker that this process is; nil in any other process.
var processLogger atomic.Pointer[hclog.Logger]

// SlogHandler returns a handler for log/slog that sends records to the host with their level and fields. A record logged with the context of a
// workload's Run, Setup or Teardown, as in slog.InfoContext(ctx, "…"), is also tagged with the worker and, in Run, with the item.
//
// In a plugin process that has set no default of its own for log/slog and log, this handler is the default of both: slog.Info("…", "key", value)
// needs no set-up. Lines of package log are sent to the host whatever their level, but lines below the host's level at a limited rate: they are shown
// only as the last words of a process that dies. If the workload runs on goroutines, the host program's own default stays in place.
//
// Records logged without such a context outside of a plugin process go to stderr.
func SlogHandler() slog.Handler { return slogHandler{} }

// slogHandler passes records on to a [hclog.Logger].
type slogHandler struct {
	fields []any  // keys and values, alternating
	group  string // prefix of the keys that follow: the names of the open groups, each followed by a dot
}

var _ slog.Handler = slogHandler{}

// logger returns the logger for a record that was logged with ctx.
func (h slogHandler) logger(ctx context.Context) hclog.Logger {
	if ctx != nil {
		if logger := work.LoggerOf(ctx); logger != nil {
			return logger
		}
	}
	if logger := processLogger.Load(); logger != nil {
		return *logger
	}
	return hclog.Default()
}

// Enabled is part of [slog.Handler].
func (h slogHandler) Enabled(ctx context.Context, level slog.Level) bool {
	least := h.logger(ctx).GetLevel()
	return least != hclog.Off && hclogLevel(level) >= least
}

// Handle is part of [slog.Handler].
func (h slogHandler) Handle(ctx context.Context, r slog.Record) error {
	fields := slices.Clip(h.fields)
	r.Attrs(func(a slog.Attr) bool {
		fields = appendAttr(fields, h.group, a)
		return true
	})
	h.logger(ctx).Log(hclogLevel(r.Level), r.Message, fields...)
	return nil
}

// WithAttrs is part of [slog.Handler].
func (h slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.fields = slices.Clip(h.fields)
	for _, a := range attrs {
		h.fields = appendAttr(h.fields, h.group, a)
	}
	return h
}

// WithGroup is part of [slog.Handler].
func (h slogHandler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.group += name + "."
	}
	return h
}

// appendAttr adds an attribute. The key of a group's member is the group's name, a dot and the member's name.
func appendAttr(fields []any, group string, a slog.Attr) []any {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, member := range v.Group() {
			fields = appendAttr(fields, group, member)
		}
		return fields
	case slog.KindTime:
		return append(fields, group+a.Key, v.Time().Format(time.RFC3339Nano))
	case slog.KindAny:
		if a.Key == "" && v.Any() == nil { // slog requires handlers to ignore an empty attribute
			return fields
		}
		if text, ok := v.Any().(fmt.Stringer); ok {
			return append(fields, group+a.Key, text.String())
		}
		return append(fields, group+a.Key, v.Any())
	case slog.KindDuration:
		return append(fields, group+a.Key, v.Duration().String())
	default:
		return append(fields, group+a.Key, v.Any())
	}
}

func hclogLevel(level slog.Level) hclog.Level {
	switch {
	case level < slog.LevelDebug:
		return hclog.Trace
	case level < slog.LevelInfo:
		return hclog.Debug
	case level < slog.LevelWarn:
		return hclog.Info
	case level < slog.LevelError:
		return hclog.Warn
	default:
		return hclog.Error
	}
}

// adoptLogs sends the lines of log/slog and log to the host, unless the plugin has sent them elsewhere. It must be called before the standard streams
// are replaced. quiet, unlike logger, also writes lines below the host's log level.
func adoptLogs(logger, quiet hclog.Logger) {
	processLogger.Store(&logger)
	untouched := fmt.Sprintf("%T", slog.Default().Handler()) == "*slog.defaultHandler"
	if untouched && log.Writer() == os.Stderr && log.Flags() == log.LstdFlags {
		slog.SetDefault(slog.New(&printHandler{quiet: quiet})) // slog.SetDefault gives package log a writer that calls this handler
		writer := log.Writer()
		slog.SetDefault(slog.New(SlogHandler()))
		log.SetOutput(writer)
	}
}
