package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// checkReport refuses a --report that could not be written, before anything has run.
func checkReport(path string) error {
	if path == "" {
		return nil
	}
	if filepath.Ext(path) != ".json" {
		return usageError("write --report run.json", "--report %q: the only format is .json", path)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return usageError("make the folder first", "--report %q: there is no folder %q", path, filepath.Dir(path))
	}
	return nil
}

// writeReport writes the summary of a run, or whatever else content is, to a file.
func writeReport(path string, content any) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(content, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o666)
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
