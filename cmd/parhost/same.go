package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/parhost/parhost/internal/plain"
)

// use is a file that a run reads or writes.
type use struct {
	words string      // what the user wrote
	info  os.FileInfo // nil if the file does not exist yet
	path  string      // absolute, with symbolic links resolved; "" for streams
	std   bool        // the file is a standard stream
}

// checkFiles refuses a run that would write to its own input, or to the same file in two ways: a run that reads its own results never ends. It
// compares files by device and inode, so that other names and hard links are recognised. A stream counts only if it is a regular file.
func checkFiles(s *streams, o *options) error {
	var writes []use
	for _, out := range []struct {
		words string
		to    any
	}{{"stdout", s.out}, {"stderr", s.err}} {
		if info := regular(out.to); info != nil {
			writes = append(writes, use{words: out.words, info: info, std: true})
		}
	}
	for _, f := range []struct{ flag, path string }{{"--joblog", o.joblog}, {"--report", o.report}, {"--trace", o.trace}} {
		if f.path == "" {
			continue
		}
		w := named(f.flag, f.path)
		for _, other := range writes {
			if w.is(other) {
				return overlap(w, other)
			}
		}
		writes = append(writes, w)
	}
	read, ok := inputUse(s, o)
	if !ok {
		return nil
	}
	for _, w := range writes {
		if w.is(read) {
			return overlap(w, read)
		}
	}
	if o.dossier != "" && read.path != "" {
		if ours, _ := filepath.Match("item-*.json", filepath.Base(read.path)); ours && sameFolder(filepath.Dir(read.path), o.dossier) {
			return usageError("give --dossier another folder", "--input %q is one of the files that --dossier %q may replace", o.input, o.dossier)
		}
	}
	return nil
}

// inputUse returns the file from which items are read. It returns false unless they come from a regular file, or from a path where no file exists yet.
func inputUse(s *streams, o *options) (use, bool) {
	if o.input != "-" {
		if o.input == "" {
			return use{}, false
		}
		read := named("--input", o.input)
		return read, read.info == nil || read.info.Mode().IsRegular()
	}
	info := regular(s.in)
	return use{words: "stdin", info: info, std: true}, info != nil
}

func named(flag, path string) use {
	u := use{words: fmt.Sprintf("%s %q", flag, path), path: filepath.Clean(path)}
	if target, err := plain.Resolve(path); err == nil {
		u.path = target
	}
	if absolute, err := filepath.Abs(u.path); err == nil {
		u.path = absolute
	}
	if info, err := os.Stat(path); err == nil {
		u.info = info
	}
	return u
}

func (u use) is(other use) bool {
	if u.info != nil && other.info != nil {
		return u.info.Mode().IsRegular() && os.SameFile(u.info, other.info)
	}
	return u.info == nil && other.info == nil && u.path != "" && u.path == other.path
}

// overlap returns the error for a file that w writes and that other also writes or reads.
func overlap(w, other use) error {
	if other.std && other.words != "stdin" {
		return usageError("send "+other.words+" to another file", "%s is also where %s goes", w.words, other.words)
	}
	if w.std {
		return usageError("send "+w.words+" to another file", "%s is also where %s goes: the run would read its own results", other.words, w.words)
	}
	return usageError("give each a file of its own", "%s and %s are one file", w.words, other.words)
}

func sameFolder(a, b string) bool {
	one, err1 := os.Stat(a)
	two, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, two)
}
