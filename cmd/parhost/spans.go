package main

import (
	"context"
	"time"

	"github.com/parhost/parhost/host/telemetry/tracing"
)

// spans are the spans of a run, if the variables of OpenTelemetry say where to send them. They only look on, so what goes wrong is a warning.
type spans struct {
	*tracing.Tracer // nil without such variables
}

// exportTime is how long the last spans of a run may take to be sent.
const exportTime = 2 * time.Second

func openSpans(ctx context.Context, s *streams, plugin string) spans {
	tracer, err := tracing.Open(ctx, plugin, func(err error) { s.say("parhost: warning: spans are lost: %v", err) })
	if err != nil {
		s.say("parhost: warning: spans are not sent: %v", err)
	}
	return spans{tracer}
}

// end sends what is left.
func (t spans) end(s *streams) {
	ctx, cancel := context.WithTimeout(context.Background(), exportTime)
	defer cancel()
	if err := t.Close(ctx); err != nil {
		s.say("parhost: warning: the last spans were not sent: %v", err)
	}
}
