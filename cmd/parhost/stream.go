package main

import (
	"os"

	"golang.org/x/term"
)

// fileOf returns the file that a stream leads to or comes from, or nil if there is none.
func fileOf(stream any) *os.File {
	switch s := stream.(type) {
	case *os.File:
		return s
	case *aboveStatus:
		return fileOf(s.to)
	case *outlet:
		return fileOf(s.w)
	case *screen:
		f, _ := s.file()
		return f
	default:
		return nil
	}
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f := fileOf(stream)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// regular returns the file information of a stream that is a regular file, or nil for any other stream.
func regular(stream any) os.FileInfo {
	f := fileOf(stream)
	if f == nil {
		return nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return info
}
