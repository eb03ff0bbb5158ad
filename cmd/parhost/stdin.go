package main

import (
	"io"
	"os"
	"time"
)

// Nothing on stdin is ignored without a word: a pipe or a file there is the input if nothing else is, and one that is not read is named.

// silentFor is how long an input that was not asked for by name may stay silent before the command says that it waits for it.
const silentFor = time.Second

// takeStdin makes stdin the source of the items if no other is given, and it is a pipe or a regular file. A terminal, /dev/null and the
// socket of a service manager are no input, as they are there without anybody's intention.
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

// sayUnread says that stdin holds data which the run has not read.
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

// sayEmpty says that a stdin which was taken for the input held no item.
func (r *itemRun) sayEmpty() {
	if r.stdinTaken && r.sum.Items == 0 && r.source.failure() == nil && r.sum.Stopped == "" {
		r.say("parhost: hint: stdin is a pipe or a file, so items were read from it, and it held none; with </dev/null the plugin's examples run")
	}
}

// holdsData reports whether there is something to be read from a pipe, a socket or a regular file.
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

// announcedReader says that it waits if its first data are long in coming.
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
