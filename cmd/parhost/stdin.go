package main

import (
	"io"
	"os"
	"time"
)

// A pipe or a file on stdin is never silently ignored: it is the input if there is no other source, and a hint names it if it was not read.

// silentFor is how long an stdin that the user has not named as input may stay silent before the command says that it is waiting for it.
const silentFor = time.Second

// takeStdin makes stdin the source of the items if no other source was given and stdin is a pipe or a regular file. A terminal, /dev/null and the
// socket of a service manager are not used as input, because nobody put them there on purpose.
func takeStdin(s *streams, o *options) {
	if o.input != "" || o.span != "" || len(o.items) > 0 {
		return
	}
	f, ok := s.in.(*os.File)
	if !ok {
		return
	}
	if info, err := f.Stat(); err == nil && (info.Mode().IsRegular() || info.Mode()&os.ModeNamedPipe != 0) {
		o.input, o.stdinTaken = "-", true
	}
}

// sayUnread prints a hint if stdin holds data that the run has not read.
func (r *itemRun) sayUnread() {
	f, ok := r.in.(*os.File)
	if !ok || r.input == "-" || !holdsData(f) {
		return
	}
	source := "the plugin's examples"
	switch {
	case len(r.items) > 0:
		source = "the arguments"
	case r.input != "":
		source = "--input"
	case r.span != "":
		source = "--range"
	}
	r.say("parhost: hint: stdin holds data that was not read, as the items were %s; --input - reads them from stdin", source)
}

// sayEmpty prints a hint if stdin became the input by default and held no item.
func (r *itemRun) sayEmpty() {
	if r.stdinTaken && r.sum.Items == 0 && r.source.failure() == nil && r.sum.Stopped == "" {
		r.say("parhost: hint: stdin is a pipe or a file, so items were read from it, and it held none; with </dev/null the plugin's examples run")
	}
}

// holdsData reports whether a pipe, a socket or a regular file has data to read.
func holdsData(f *os.File) bool {
	info, err := f.Stat()
	switch {
	case err != nil:
		return false
	case info.Mode().IsRegular():
		at, err := f.Seek(0, io.SeekCurrent)
		return err == nil && at < info.Size()
	case info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0:
		return waiting(f)
	default:
		return false
	}
}

// announcedReader prints a message if the first data take longer than silentFor to arrive.
type announcedReader struct {
	io.Reader
	say   func(format string, args ...any)
	begun bool
}

func (a *announcedReader) Read(into []byte) (int, error) {
	if a.begun {
		return a.Reader.Read(into)
	}
	a.begun = true
	timer := time.AfterFunc(silentFor, func() {
		a.say("parhost: waiting for items on stdin, which is a pipe: one JSON value a line; with </dev/null the plugin's examples run")
	})
	defer timer.Stop()
	return a.Reader.Read(into)
}
