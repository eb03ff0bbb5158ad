package host

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// SlogLogger returns a logger for [Config.Logger] that writes to l, with the same keys and values. A nil l is [slog.Default]. hclog's level TRACE, which slog
// does not have, is 4 below [slog.LevelDebug]. The names of loggers, such as a plugin's, are the value of the key "logger".
func SlogLogger(l *slog.Logger) hclog.Logger {
	if l == nil {
		l = slog.Default()
	}
	return &slogLogger{out: l}
}

// slogLogger is an [hclog.Logger] that writes to a [slog.Logger]. The latter decides which levels are shown.
type slogLogger struct {
	out  *slog.Logger
	name string
	args []any // given to With
}

var _ hclog.Logger = (*slogLogger)(nil)

func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Trace:
		return slog.LevelDebug - 4
	case hclog.Debug:
		return slog.LevelDebug
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// Log implements [hclog.Logger], as all methods do.
func (s *slogLogger) Log(level hclog.Level, msg string, args ...any) {
	if level == hclog.Off || !s.shows(level) {
		return
	}
	r := slog.NewRecord(time.Now(), slogLevel(level), msg, 0) // without a source, which would be this line
	if s.name != "" {
		r.Add("logger", s.name)
	}
	r.Add(s.args...)
	for i, v := range args {
		if format, ok := v.(hclog.Format); ok && i%2 == 1 && len(format) > 0 { // of hclog.Fmt
			args = slices.Clone(args)
			args[i] = fmt.Sprintf(fmt.Sprint(format[0]), format[1:]...)
		}
	}
	r.Add(args...)
	_ = s.out.Handler().Handle(context.Background(), r) // as slog's own methods do
}

func (s *slogLogger) shows(level hclog.Level) bool {
	return s.out.Enabled(context.Background(), slogLevel(level))
}

func (s *slogLogger) Trace(msg string, args ...any) { s.Log(hclog.Trace, msg, args...) }
func (s *slogLogger) Debug(msg string, args ...any) { s.Log(hclog.Debug, msg, args...) }
func (s *slogLogger) Info(msg string, args ...any)  { s.Log(hclog.Info, msg, args...) }
func (s *slogLogger) Warn(msg string, args ...any)  { s.Log(hclog.Warn, msg, args...) }
func (s *slogLogger) Error(msg string, args ...any) { s.Log(hclog.Error, msg, args...) }

func (s *slogLogger) IsTrace() bool { return s.shows(hclog.Trace) }
func (s *slogLogger) IsDebug() bool { return s.shows(hclog.Debug) }
func (s *slogLogger) IsInfo() bool  { return s.shows(hclog.Info) }
func (s *slogLogger) IsWarn() bool  { return s.shows(hclog.Warn) }
func (s *slogLogger) IsError() bool { return s.shows(hclog.Error) }

func (s *slogLogger) ImpliedArgs() []any { return slices.Clone(s.args) }

// With replaces the value of a key that there is already.
func (s *slogLogger) With(args ...any) hclog.Logger {
	all := slices.Clone(s.args)
	for pair := range slices.Chunk(args, 2) {
		if at := slices.Index(all, pair[0]); at >= 0 && at%2 == 0 && len(pair) == 2 && at+1 < len(all) {
			all[at+1] = pair[1]
		} else {
			all = append(all, pair...)
		}
	}
	return &slogLogger{out: s.out, name: s.name, args: all}
}

func (s *slogLogger) Name() string { return s.name }

func (s *slogLogger) Named(name string) hclog.Logger {
	if s.name != "" {
		name = s.name + "." + name
	}
	return s.ResetNamed(name)
}

func (s *slogLogger) ResetNamed(name string) hclog.Logger {
	return &slogLogger{out: s.out, name: name, args: s.args}
}

// SetLevel does nothing: the slog.Logger has the level.
func (s *slogLogger) SetLevel(hclog.Level) {}

func (s *slogLogger) GetLevel() hclog.Level {
	for level := hclog.Trace; level < hclog.Off; level++ {
		if s.shows(level) {
			return level
		}
	}
	return hclog.Off
}

func (s *slogLogger) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(s.StandardWriter(o), "", 0)
}

// StandardWriter returns a writer of whole lines. It does not infer levels: all lines have that of the options, or else INFO.
func (s *slogLogger) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	level := hclog.Info
	if o != nil && o.ForceLevel != hclog.NoLevel {
		level = o.ForceLevel
	}
	return lineWriter(func(line string) { s.Log(level, line) })
}

// lineWriter is an [io.Writer] that calls a function with each line that is written, without the line break.
type lineWriter func(line string)

func (w lineWriter) Write(b []byte) (int, error) {
	w(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}
