package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/parhost/parhost/host/dashboard"
	"github.com/parhost/parhost/internal/plain"
)

// report is the file of --report. A nil report writes nothing.
type report struct {
	say    func(format string, args ...any)
	path   string   // as the user gave it
	folder *os.Root // opened when the run began, because the path may lead to another folder by the end
	name   string
}

// checkReport returns an error for an unusable file of a flag, such as --report, before anything has run.
func checkReport(flag, path string) error {
	if path == "" {
		return nil
	}
	if filepath.Ext(path) != ".json" && !isPage(path) {
		return usageError("write --report run.json or --report run.html", "%s %q: the formats are .json and .html", flag, path)
	}
	folder, _ := plain.Split(path)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return usageError("make the folder first", "%s %q: there is no folder %q", flag, path, folder)
	}
	return nil
}

// isPage reports whether a report is to be a page.
func isPage(path string) bool { return filepath.Ext(path) == ".html" }

// openReport opens the folder of the file of a flag, such as --report. It returns an error if the folder cannot be written.
func openReport(s *streams, flag, path string) (*report, error) {
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
		return nil, usageError("give a file in a folder that you can write to", "%s %q: %v", flag, path, err)
	}
	return r, nil
}

// write writes content as JSON, or the page, into a new file, which then replaces the old one atomically.
func (r *report) write(content any, page func() *dashboard.Report) error {
	if r == nil {
		return nil
	}
	var text bytes.Buffer
	var err error
	if isPage(r.path) {
		err = dashboard.WriteReport(&text, page())
	} else {
		lines := json.NewEncoder(&text)
		lines.SetIndent("", "  ")
		err = lines.Encode(content)
	}
	if err == nil {
		err = replace(r.say, r.folder, r.name, r.path, text.Bytes())
	}
	if err != nil {
		return fmt.Errorf("write report %q: %w", r.path, plain.Cause(err))
	}
	return nil
}

// failed returns what an error of write means for the run. A page is only to be looked at, so the run counts as what it was.
func (r *report) failed(err error) error {
	if isPage(r.path) {
		r.say("parhost: warning: %v", err)
		return nil
	}
	return &exitError{code: exitFailed, err: err}
}

// replace replaces the file name in folder atomically. It warns if the file system cannot sync the file. path is the name for messages.
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
