package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/parhost/parhost/internal/plain"
)

// report is the file that --report names. The nil report is none.
type report struct {
	say    func(format string, args ...any)
	path   string   // as it was given
	folder *os.Root // as it was when the run began: its name may lead elsewhere by the end
	name   string
}

// checkReport refuses a --report that is no report, before anything has run.
func checkReport(path string) error {
	if path == "" {
		return nil
	}
	if filepath.Ext(path) != ".json" {
		return usageError("write --report run.json", "--report %q: the only format is .json", path)
	}
	folder, _ := plain.Split(path)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return usageError("make the folder first", "--report %q: there is no folder %q", path, folder)
	}
	return nil
}

// openReport opens the folder of --report, and refuses one that cannot be written to.
func openReport(s *streams, path string) (*report, error) {
	if path == "" {
		return nil, nil
	}
	folder, name := plain.Split(path)
	r := &report{say: s.say, path: path, name: name}
	var err error
	if r.folder, err = plain.OpenFolder(folder); err == nil {
		err = plain.Check(r.folder)
	}
	if info, missing := os.Lstat(path); err == nil && missing == nil && info.IsDir() {
		err = &plain.KindError{Path: path, Mode: info.Mode()}
	}
	if err != nil {
		r.close()
		return nil, usageError("give a file in a folder that you can write to", "--report %q: %v", path, err)
	}
	return r, nil
}

// write writes the summary of a run, or whatever else content is, into a new file that takes the place of an old one.
func (r *report) write(content any) error {
	if r == nil {
		return nil
	}
	text, err := json.MarshalIndent(content, "", "  ")
	if err == nil {
		err = replace(r.say, r.folder, r.name, r.path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write report %q: %w", r.path, plain.Cause(err))
	}
	return nil
}

// replace puts a file in the place of name in a folder. It warns of a file system that cannot sync it; path is the file's name there.
func replace(say func(format string, args ...any), folder *os.Root, name, path string, content []byte) error {
	unsynced, err := plain.Replace(folder, name, 0o666, content)
	if unsynced != nil && err == nil {
		say("parhost: warning: %q: its file system cannot sync files (%v): if the machine crashes soon, the file may be lost", path, unsynced)
	}
	return err
}

func (r *report) close() {
	if r != nil && r.folder != nil {
		_ = r.folder.Close()
	}
}
