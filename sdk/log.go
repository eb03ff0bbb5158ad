package sdk

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/bound"
)

const (
	quietRate  = 16 << 10 // bytes per second of lines below the host's log level
	quietBurst = 64 << 10 // largest burst of such lines, in bytes
	printWidth = 8 << 10  // largest message in bytes; even when escaped as JSON it fits into the longest line that the host reads
)

// printHandler sends the lines of package log to the host. These lines have no level, because log.Fatal prints like log.Print, so a line below the
// host's log level may be the reason why the process exits. The handler therefore sends all lines, and the host shows the lines below its level only
// if the process dies.
//
// Lines below the host's level are sent at a limited rate, because they are rarely shown. A line of log.Fatal is always sent.
type printHandler struct {
	slogHandler
	quiet hclog.Logger

	mu   sync.Mutex
	left int // bytes that may be sent now
	at   time.Time
}

var _ slog.Handler = (*printHandler)(nil)

// Enabled is part of [slog.Handler].
func (h *printHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle is part of [slog.Handler].
func (h *printHandler) Handle(ctx context.Context, r slog.Record) error {
	message, level := bound.Text(r.Message, printWidth), hclogLevel(r.Level)
	switch {
	case h.slogHandler.Enabled(ctx, r.Level):
		h.logger(ctx).Log(level, message)
	case h.allows(len(message)) || isFatal():
		h.quiet.Log(level, message)
	}
	return nil
}

// allows reports whether a line of size bytes keeps within the rate limit. If it does, allows counts the line.
func (h *printHandler) allows(size int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if gain := now.Sub(h.at).Seconds() * quietRate; gain < quietBurst {
		h.left = min(quietBurst, h.left+int(gain))
	} else {
		h.left = quietBurst
	}
	h.at = now
	if size += 100; size > h.left { // 100 bytes for the JSON around the message
		return false
	}
	h.left -= size
	return true
}

// isFatal reports whether a Fatal function of package log is among the callers.
func isFatal() bool {
	var callers [5]uintptr // the callers of Handle: the writers in log/slog and log, then the function of package log that the plugin called
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for {
		frame, more := frames.Next()
		if strings.HasPrefix(frame.Function, "log.Fatal") || strings.HasPrefix(frame.Function, "log.(*Logger).Fatal") {
			return true
		}
		if !more {
			return false
		}
	}
}
