package main

import (
	"os"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/telemetry/perfetto"
	"github.com/parhost/parhost/internal/plain"
	"github.com/parhost/parhost/internal/wire"
)

// trace is the file of --trace. A nil trace writes nothing.
type trace struct {
	*perfetto.Trace
	path string
	file *os.File
}

// openTrace creates the file, or empties it. It returns an error if that is not possible.
func openTrace(path, plugin string) (*trace, error) {
	if path == "" {
		return nil, nil
	}
	resolved, err := plain.Resolve(path)
	if err != nil {
		resolved = path
	}
	file, err := plain.OpenOwn(resolved, 0o666)
	if err == nil {
		if err = file.Truncate(0); err != nil {
			_ = file.Close()
		}
	}
	if err != nil {
		return nil, usageError("give a file in a folder that you can write to", "--trace %q: %v", path, plain.Cause(err))
	}
	return &trace{Trace: perfetto.New(file, plugin), path: path, file: file}, nil
}

// Observe is part of [host.Observer].
func (t *trace) Observe(e host.Event) {
	if t != nil {
		t.Trace.Observe(e)
	}
}

// end writes the rest of the trace. A trace that is not whole says so, and changes nothing else: it only looks on.
func (t *trace) end(s *streams) {
	if t == nil {
		return
	}
	lost, err := t.Close()
	if closed := t.file.Close(); err == nil {
		err = closed
	}
	switch {
	case err != nil:
		s.say("parhost: warning: trace %q ends early: %v", t.path, plain.Cause(err))
	case lost > 0:
		s.say("parhost: warning: trace %q lacks %s, which came faster than they could be written", t.path, wire.Count(lost, "event"))
	}
}
